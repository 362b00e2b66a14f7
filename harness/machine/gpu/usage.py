"""Device memory at one moment: of each process, and of the device."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from harness.machine.gpu.device import Device
from harness.machine.gpu.nvml import Absent


@dataclass(frozen=True)
class Usage:
    """Memory of one device.

    Attributes:
        processes: bytes by the process id that the driver knows, which in a container may not be
            ours. None where the driver names a process and withholds its bytes.
        device: bytes in use, without the driver's own reserve where it tells them apart.
    """

    processes: Mapping[int, int | None] | Absent
    device: int | Absent

    @property
    def pids(self) -> frozenset[int]:
        """Processes that compute on the device, as far as the driver lists them."""
        return frozenset(() if isinstance(self.processes, Absent) else self.processes)

    @property
    def idle(self) -> bool:
        """Whether the driver lists the processes, and there is none."""
        return not isinstance(self.processes, Absent) and not self.processes

    def of(self, pids: Collection[int]) -> int | Absent:
        """Bytes of a group of processes; refused if those of one of them are withheld."""
        if isinstance(self.processes, Absent):
            return self.processes
        known = [self.processes[pid] for pid in pids if pid in self.processes]
        if not known:
            return Absent("the driver does not name the process")
        if None in known:
            return Absent("the driver withholds the bytes of the process")
        return sum(filter(None, known))


def usage(device: Device) -> Usage:
    """Read the memory in use now."""
    return Usage(_processes(device), _device_bytes(device))


def _processes(device: Device) -> Mapping[int, int | None] | Absent:
    listed = device.ask("nvmlDeviceGetComputeRunningProcesses")
    if isinstance(listed, Absent):
        return listed
    found: dict[int, int | None] = {}
    for process in listed:
        # A process on a GPU holds a context at least; some drivers say 0 where they may not say.
        size = int(process.usedGpuMemory or 0) or None
        before = found.get(int(process.pid), 0)
        found[int(process.pid)] = None if size is None or before is None else before + size
    return found


def _device_bytes(device: Device) -> int | Absent:
    """Memory in use on one device; version 2 of the call leaves the driver's reserve out."""
    version = device.nvml.constant("nvmlMemory_v2", 0)
    memory = device.ask("nvmlDeviceGetMemoryInfo", version=version)
    if isinstance(memory, Absent):
        memory = device.ask("nvmlDeviceGetMemoryInfo")
    return memory if isinstance(memory, Absent) else int(memory.used)
