"""Stands in for the module `pynvml` of nvidia-ml-py: boards, MIG instances, and their failures."""

# ruff: noqa: N802, N815 - the module's own names

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

GIB = 2**30
UNINITIALIZED, NOT_SUPPORTED, NO_PERMISSION, NOT_FOUND = 1, 3, 4, 6
LIBRARY_NOT_FOUND, FUNCTION_NOT_FOUND, GPU_IS_LOST, VERSION_MISMATCH = 12, 13, 15, 18
_ERRORS = {
    UNINITIALIZED: ("Uninitialized", "Uninitialized"),
    NOT_SUPPORTED: ("NotSupported", "Not Supported"),
    NO_PERMISSION: ("NoPermission", "Insufficient Permissions"),
    NOT_FOUND: ("NotFound", "Not Found"),
    LIBRARY_NOT_FOUND: ("LibraryNotFound", "NVML Shared Library Not Found"),
    FUNCTION_NOT_FOUND: ("FunctionNotFound", "Function Not Found"),
    GPU_IS_LOST: ("GpuIsLost", "GPU is lost"),
    VERSION_MISMATCH: ("LibRmVersionMismatch", "RM has detected an NVML/RM version mismatch."),
}

Processes = Callable[[], list[tuple[int, int | None]]]


@dataclass
class Board:
    """One board; `processes` and `energy` are asked anew at each call."""

    uuid: str = "GPU-aaaa1111-0000-0000-0000-000000000000"
    bus: str = "00000000:01:00.0"
    name: str = "Imaginary GPU"
    used: int = 2 * GIB
    processes: Processes = list
    energy: Callable[[], int] = lambda: 0
    sm: int = 1900
    reasons: int = 0x1
    power_violation: int = 0
    in_mig_mode: bool = False
    instances: list[Instance | None] = field(default_factory=list)


@dataclass
class Instance:
    """A MIG instance."""

    board: Board
    uuid: str
    ids: tuple[int, int]
    name: str = "Imaginary GPU MIG 1g.10gb"
    used: int = GIB
    processes: Processes = list


def _call(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of the library: needs `nvmlInit`, and fails if the test says so."""

    @functools.wraps(function)
    def call(self: FakeNvml, *arguments: Any, **keywords: Any) -> Any:
        if self.open < 1:
            raise self.NVMLError(UNINITIALIZED)
        failure = self.failing.get(function.__name__)
        if isinstance(failure, Exception):
            raise failure
        if failure is not None:
            raise self.NVMLError(failure)
        return function(self, *arguments, **keywords)

    return call


def _of_board(name: str, value: Callable[[Board], Any]) -> Callable[..., Any]:
    """A function that MIG instances do not support."""

    def ask(self: FakeNvml, handle: Any, *_: Any) -> Any:
        if not isinstance(handle, Board):
            raise self.NVMLError(NOT_SUPPORTED)
        return value(handle)

    ask.__name__ = name
    return _call(ask)


class NVMLError(Exception):
    """As in nvidia-ml-py: made from a code, it becomes the subclass of that code."""

    def __new__(cls, value: int) -> NVMLError:
        made = super().__new__(_CLASSES.get(value, cls) if cls is NVMLError else cls)
        made.value = value
        return made

    value: int

    def __str__(self) -> str:
        return _ERRORS[self.value][1]


_CLASSES = {
    code: type(f"NVMLError_{name}", (NVMLError,), {}) for code, (name, _) in _ERRORS.items()
}


class NVMLLibraryMismatchError(Exception):
    """As in nvidia-ml-py, not an `NVMLError`."""


class FakeNvml(ModuleType):
    """One board unless a test changes `boards`; `failing` maps functions to error codes."""

    NVMLError = NVMLError
    nvmlMemory_v2 = 33554472

    def __init__(self) -> None:
        super().__init__("pynvml")
        self.boards = [Board()]
        self.failing: dict[str, int | Exception] = {}
        self.driver_error: int | None = None
        self.open = 0

    def nvmlInit(self) -> None:
        if self.driver_error is not None:
            raise NVMLError(self.driver_error)
        self.open += 1

    @_call
    def nvmlShutdown(self) -> None:
        self.open -= 1

    @_call
    def nvmlSystemGetDriverVersion(self) -> str:
        return "999.1"

    @_call
    def nvmlDeviceGetCount(self) -> int:
        return len(self.boards)

    @_call
    def nvmlDeviceGetHandleByIndex(self, index: int) -> Board:
        return self.boards[index]

    @_call
    def nvmlDeviceGetName(self, handle: Board | Instance) -> str:
        return handle.name

    @_call
    def nvmlDeviceGetUUID(self, handle: Board | Instance) -> str:
        return handle.uuid

    @_call
    def nvmlDeviceGetMemoryInfo(self, handle: Board | Instance, version: int = 0) -> Any:
        if version and "version 2" in self.failing:
            raise NVMLError(FUNCTION_NOT_FOUND)
        reserve = 0 if version else GIB
        return SimpleNamespace(total=16 * GIB, used=handle.used + reserve)

    @_call
    def nvmlDeviceGetComputeRunningProcesses(self, handle: Board | Instance) -> list[Any]:
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in handle.processes()]

    @_call
    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: Board, index: int) -> Instance:
        found = handle.instances[index]
        if found is None:
            raise NVMLError(NOT_FOUND)
        return found

    @_call
    def nvmlDeviceGetGpuInstanceId(self, handle: Instance) -> int:
        return handle.ids[0]

    @_call
    def nvmlDeviceGetComputeInstanceId(self, handle: Instance) -> int:
        return handle.ids[1]

    @_call
    def nvmlDeviceGetViolationStatus(self, handle: Board, policy: int) -> Any:
        """Power (0) alone has ever held the clocks down."""
        return SimpleNamespace(violationTime=0 if policy else handle.power_violation)

    nvmlDeviceGetPciInfo = _of_board(
        "nvmlDeviceGetPciInfo", lambda board: SimpleNamespace(busId=board.bus)
    )
    nvmlDeviceGetMigMode = _of_board(
        "nvmlDeviceGetMigMode", lambda board: [int(board.in_mig_mode)] * 2
    )
    nvmlDeviceGetMaxMigDeviceCount = _of_board(
        "nvmlDeviceGetMaxMigDeviceCount", lambda board: len(board.instances)
    )
    nvmlDeviceGetTotalEnergyConsumption = _of_board(
        "nvmlDeviceGetTotalEnergyConsumption", lambda board: board.energy()
    )
    nvmlDeviceGetClockInfo = _of_board("nvmlDeviceGetClockInfo", lambda board: board.sm)
    nvmlDeviceGetMaxClockInfo = _of_board("nvmlDeviceGetMaxClockInfo", lambda _: 2000)
    nvmlDeviceGetDefaultApplicationsClock = _of_board(
        "nvmlDeviceGetDefaultApplicationsClock", lambda _: 1800
    )
    nvmlDeviceGetTemperature = _of_board("nvmlDeviceGetTemperature", lambda _: 41)
    nvmlDeviceGetPowerUsage = _of_board("nvmlDeviceGetPowerUsage", lambda _: 62500)
    nvmlDeviceGetPowerManagementLimit = _of_board(
        "nvmlDeviceGetPowerManagementLimit", lambda _: 700000
    )
    nvmlDeviceGetEccMode = _of_board("nvmlDeviceGetEccMode", lambda _: [1, 1])
    nvmlDeviceGetPerformanceState = _of_board("nvmlDeviceGetPerformanceState", lambda _: 0)
    nvmlDeviceGetPersistenceMode = _of_board("nvmlDeviceGetPersistenceMode", lambda _: 1)
    nvmlDeviceGetCurrentClocksEventReasons = _of_board(
        "nvmlDeviceGetCurrentClocksEventReasons", lambda board: board.reasons
    )
    nvmlDeviceGetCurrentClocksThrottleReasons = _of_board(
        "nvmlDeviceGetCurrentClocksThrottleReasons", lambda board: board.reasons
    )
