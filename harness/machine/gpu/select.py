"""Which device a trial computes on: `CUDA_VISIBLE_DEVICES`, read as CUDA reads it.

A trial uses the first visible device. Indices count in the order of PCI bus ids, as nvidia-smi
does and as CUDA does under `CUDA_DEVICE_ORDER=PCI_BUS_ID`, which trials are started with. On a
board in MIG mode CUDA offers one instance: the one that is named, else the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from harness.machine.gpu.nvml import Absent, Library

VISIBLE: Final = "CUDA_VISIBLE_DEVICES"
ORDER: Final = "CUDA_DEVICE_ORDER"
_LEGACY: Final = "MIG-GPU-"


@dataclass(frozen=True)
class Handle:
    """An NVML device: a whole board, or a MIG instance (`mig`) of `board`."""

    handle: Any
    board: Any
    uuid: str
    mig: bool


def boards(library: Library) -> list[Any] | Absent:
    """Handles of the boards that this process may talk to, in the order of PCI bus ids."""
    count = library.ask("nvmlDeviceGetCount")
    if isinstance(count, Absent):
        return count
    found = [library.ask("nvmlDeviceGetHandleByIndex", index) for index in range(count)]
    usable = [handle for handle in found if not isinstance(handle, Absent)]
    if not usable:
        return found[0] if found else Absent("the driver lists no device")
    return sorted(usable, key=lambda handle: _bus(library, handle))


def select(library: Library, environment: Mapping[str, str]) -> Handle | Absent:
    """The device that a process with these variables calls `cuda:0`, or why it is unknown."""
    handles = boards(library)
    if isinstance(handles, Absent):
        return handles
    token = environment.get(VISIBLE, "0").split(",")[0].strip()
    if token.isdecimal():
        return _by_index(library, handles, int(token), environment)
    if token.startswith("GPU-"):
        return _only(token, [_first(library, handle) for handle in _named(library, handles, token)])
    if token.startswith(_LEGACY):
        return _by_ids(library, handles, token)
    if token.startswith("MIG-"):
        every = [instance for handle in handles for instance in instances(library, handle)]
        return _only(token, [one for one in every if _starts(one.uuid, token)])
    return Absent(f"{VISIBLE}={environment.get(VISIBLE)!r} hides every GPU")


def instances(library: Library, board: Any) -> Iterator[Handle]:
    """The MIG instances of a board, in NVML's order; none outside MIG mode."""
    mode = library.ask("nvmlDeviceGetMigMode", board)
    if isinstance(mode, Absent) or not mode[0]:
        return
    count = library.ask("nvmlDeviceGetMaxMigDeviceCount", board)
    for index in range(0 if isinstance(count, Absent) else count):
        handle = library.ask("nvmlDeviceGetMigDeviceHandleByIndex", board, index)
        if not isinstance(handle, Absent):  # a slot may be empty
            yield Handle(handle, board, _uuid(library, handle), mig=True)


def _by_index(
    library: Library, handles: list[Any], index: int, environment: Mapping[str, str]
) -> Handle | Absent:
    if len(handles) > 1 and environment.get(ORDER) == "FASTEST_FIRST":
        return Absent(
            f"{ORDER}=FASTEST_FIRST hides from the driver which of {len(handles)} GPUs is number "
            f"{index}; set {ORDER}=PCI_BUS_ID, or name the GPU by its UUID in {VISIBLE}"
        )
    if index >= len(handles):
        return Absent(f"there is no GPU number {index}: the driver lists {len(handles)}")
    return _first(library, handles[index])


def _first(library: Library, board: Any) -> Handle | Absent:
    """What CUDA computes on when a board is named: itself, or its first MIG instance."""
    mode = library.ask("nvmlDeviceGetMigMode", board)
    if not isinstance(mode, Absent) and mode[0]:
        nothing = Absent("the GPU is in MIG mode and has no compute instance; make one, or end MIG")
        return next(instances(library, board), nothing)
    return Handle(board, board, _uuid(library, board), mig=False)


def _by_ids(library: Library, handles: list[Any], token: str) -> Handle | Absent:
    """`MIG-GPU-<uuid>/<GPU instance>/<compute instance>`, the form of drivers before R470."""
    board, _, ids = token.removeprefix("MIG-").partition("/")
    found = [
        instance
        for handle in _named(library, handles, board)
        for instance in instances(library, handle)
        if ids == "/".join(str(library.ask(ask, instance.handle)) for ask in _IDS)
    ]
    return _only(token, found)


_IDS: Final = ("nvmlDeviceGetGpuInstanceId", "nvmlDeviceGetComputeInstanceId")


def _only(token: str, found: list[Any]) -> Handle | Absent:
    if len(found) == 1:
        one: Handle | Absent = found[0]
        return one
    how_many = "names more than one GPU" if found else "names no GPU that the driver lists"
    return Absent(f"{token!r} in {VISIBLE} {how_many}; nvidia-smi -L shows the UUIDs")


def _named(library: Library, handles: list[Any], token: str) -> list[Any]:
    return [handle for handle in handles if _starts(_uuid(library, handle), token)]


def _starts(uuid: str, token: str) -> bool:
    """CUDA takes the beginning of a UUID for the whole."""
    return uuid.lower().startswith(token.lower())


def _uuid(library: Library, handle: Any) -> str:
    uuid = library.ask("nvmlDeviceGetUUID", handle)
    return "" if isinstance(uuid, Absent) else str(uuid)


def _bus(library: Library, handle: Any) -> str:
    found = library.ask("nvmlDeviceGetPciInfo", handle)
    if isinstance(found, Absent):
        return ""  # sorting is stable: NVML's order stays
    bus = found.busId
    return (bus.decode() if isinstance(bus, bytes) else str(bus)).lower()
