"""GPUs as the driver sees them, read through NVML by the parent.

The module `pynvml` of nvidia-ml-py is imported on first use. A missing module, driver or figure is
a fact to record, never a crash: every function answers with a reason instead of raising.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

_T = TypeVar("_T")
_NODES: Final = ("/dev/nvidia0", "/dev/kfd", "/dev/dxg")
"""Device files of NVIDIA, AMD and WSL drivers."""


@dataclass(frozen=True)
class Inventory:
    """The GPUs of this machine.

    `names` and `memory` (bytes) are index by index; `absent` says why there are none.
    """

    names: tuple[str, ...] = ()
    memory: tuple[int, ...] = ()
    driver: str | None = None
    absent: str | None = None


@dataclass(frozen=True)
class Usage:
    """Device memory at one moment, over all GPUs.

    Attributes
    ----------
    processes:
        Bytes of each process by its id; a process whose figure the driver withholds is missing.
    device:
        Bytes in use on the devices, without the driver's own reserve where it tells them apart.
    busy:
        Whether any process computes on a GPU, named or not.
    absent:
        Why there are no figures, or None.
    """

    processes: dict[int, int] = field(default_factory=dict)
    device: int = 0
    busy: bool = False
    absent: str | None = None

    def of(self, pids: Collection[int]) -> int | None:
        """Bytes of a group of processes; None if the driver names none of them."""
        known = [self.processes[pid] for pid in pids if pid in self.processes]
        return sum(known) if known else None


def inventory() -> Inventory:
    """List the GPUs, or say why there are none."""
    return _ask(_inventory, lambda reason: Inventory(absent=reason))


def usage() -> Usage:
    """Read the memory in use now, or say why it cannot be read."""
    return _ask(_usage, lambda reason: Usage(absent=reason))


def present(found: Inventory) -> bool:
    """Whether a program could use a GPU here, as far as can be told without trying."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1"):
        return False
    return bool(found.names) or any(Path(node).exists() for node in _NODES)


def _ask(read: Callable[[Any], _T], absent: Callable[[str], _T]) -> _T:
    try:
        import pynvml
    except ImportError:
        return absent("the module pynvml is missing (install nvidia-ml-py)")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return absent(_words(error))
    try:
        return read(pynvml)
    except pynvml.NVMLError as error:
        return absent(_words(error))
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _handles(nvml: Any) -> list[Any]:
    return [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]


def _inventory(nvml: Any) -> Inventory:
    handles = _handles(nvml)
    return Inventory(
        names=tuple(str(nvml.nvmlDeviceGetName(handle)) for handle in handles),
        memory=tuple(int(nvml.nvmlDeviceGetMemoryInfo(handle).total) for handle in handles),
        driver=str(nvml.nvmlSystemGetDriverVersion()),
        absent=None if handles else "the driver lists no device",
    )


def _usage(nvml: Any) -> Usage:
    processes: dict[int, int] = {}
    device, busy = 0, False
    for handle in _handles(nvml):
        device += _device_bytes(nvml, handle)
        for process in nvml.nvmlDeviceGetComputeRunningProcesses(handle):
            busy = True
            if process.usedGpuMemory is not None:
                known = processes.get(int(process.pid), 0)
                processes[int(process.pid)] = known + int(process.usedGpuMemory)
    return Usage(processes, device, busy)


def _device_bytes(nvml: Any, handle: Any) -> int:
    """Memory in use on one device; version 2 of the call leaves the driver's reserve out."""
    try:
        return int(nvml.nvmlDeviceGetMemoryInfo(handle, version=nvml.nvmlMemory_v2).used)
    except nvml.NVMLError:
        return int(nvml.nvmlDeviceGetMemoryInfo(handle).used)
