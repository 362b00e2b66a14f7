"""The GPUs of this machine, as far as they decide figures and stay put between two runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from harness.machine.gpu.nvml import Absent, Library, library
from harness.machine.gpu.select import VISIBLE, boards, select

_T = TypeVar("_T")
_NODES: Final = ("/dev/nvidia0", "/dev/kfd", "/dev/dxg")
"""Device files of NVIDIA, AMD and WSL drivers."""


@dataclass(frozen=True)
class TrialDevice:
    """The device that trials use: a board, or a MIG instance, whose name tells its size.

    `memory` in bytes, `power_limit_w` and `ecc` (error correction) of the board; None where the
    driver does not tell.
    """

    name: str
    memory: int | None
    mig: bool
    power_limit_w: float | None
    ecc: bool | None


@dataclass(frozen=True)
class Inventory:
    """The GPUs of this machine.

    `names` and `memory` (bytes, None where unreadable) are board by board; `absent` says why there
    are none; `trial` is the one that trials use, `unknown` says why it cannot be told.
    """

    names: tuple[str, ...] = ()
    memory: tuple[int | None, ...] = ()
    driver: str | None = None
    absent: str | None = None
    trial: TrialDevice | None = None
    unknown: str | None = None


def inventory(environment: Mapping[str, str] = os.environ) -> Inventory:
    """List the GPUs, or say why there are none."""
    with library() as opened:
        if isinstance(opened, Absent):
            return Inventory(absent=opened.reason)
        handles = boards(opened)
        if isinstance(handles, Absent):
            return Inventory(absent=handles.reason)
        trial = _trial(opened, environment)
        return Inventory(
            names=tuple(_name(opened, handle) for handle in handles),
            memory=tuple(_total(opened, handle) for handle in handles),
            driver=_known(opened.ask("nvmlSystemGetDriverVersion")),
            trial=_known(trial),
            unknown=trial.reason if isinstance(trial, Absent) else None,
        )


def present(found: Inventory, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a program could use a GPU here, as far as can be told without trying."""
    if environment.get(VISIBLE, "all").split(",")[0].strip() in ("", "-1"):
        return False
    return bool(found.names) or any(Path(node).exists() for node in _NODES)


def _trial(opened: Library, environment: Mapping[str, str]) -> TrialDevice | Absent:
    chosen = select(opened, environment)
    if isinstance(chosen, Absent):
        return chosen
    limit = _known(opened.ask("nvmlDeviceGetPowerManagementLimit", chosen.board))
    ecc = _known(opened.ask("nvmlDeviceGetEccMode", chosen.board))
    return TrialDevice(
        name=_name(opened, chosen.handle),
        memory=_total(opened, chosen.handle),
        mig=chosen.mig,
        power_limit_w=None if limit is None else limit / 1e3,
        ecc=None if ecc is None else bool(ecc[0]),
    )


def _known(value: _T | Absent) -> _T | None:
    return None if isinstance(value, Absent) else value


def _name(opened: Library, handle: Any) -> str:
    name = opened.ask("nvmlDeviceGetName", handle)
    return "unnamed GPU" if isinstance(name, Absent) else str(name)


def _total(opened: Library, handle: Any) -> int | None:
    memory = opened.ask("nvmlDeviceGetMemoryInfo", handle)
    return None if isinstance(memory, Absent) else int(memory.total)
