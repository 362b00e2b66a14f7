"""The door to NVML: open the library, ask for one figure at a time, and never raise.

The module `pynvml` of nvidia-ml-py is imported on first use.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

_REMEDIES: Final = {
    "NVMLError_LibraryNotFound": "is the NVIDIA driver installed? a container needs --gpus all",
    "NVMLError_DriverNotLoaded": "load the kernel module nvidia, or reboot",
    "NVMLError_LibRmVersionMismatch": "the driver was updated under a running kernel: reboot",
    "NVMLError_NoPermission": "let this user read /dev/nvidia*",
}


@dataclass(frozen=True)
class Absent:
    """A figure that cannot be had, and why."""

    reason: str


class Library:
    """NVML, initialised."""

    def __init__(self, module: Any) -> None:
        """`module` is `pynvml`."""
        self._module = module

    def ask(self, function: str, *arguments: Any, **keywords: Any) -> Any:
        """Call one function of the library: its value, or `Absent`."""
        try:
            return getattr(self._module, function)(*arguments, **keywords)
        # Besides NVMLError: a mismatch error with another base, an old module without the name,
        # and whatever ctypes makes of a broken library.
        except Exception as error:
            name = type(error).__name__
            remedy = f" ({_REMEDIES[name]})" if name in _REMEDIES else ""
            return Absent(f"{name}: {error}{remedy}")

    def constant(self, name: str, default: int) -> int:
        """A constant of the module; `default` where the installed one is too old for it."""
        return int(getattr(self._module, name, default))


@contextlib.contextmanager
def library() -> Iterator[Library | Absent]:
    """Open NVML, or say why it cannot be opened."""
    try:
        import pynvml
    except ImportError:
        yield Absent("the module pynvml is missing (install nvidia-ml-py)")
        return
    opened = Library(pynvml)
    failed = opened.ask("nvmlInit")
    if isinstance(failed, Absent):
        yield failed
        return
    try:
        yield opened
    finally:
        opened.ask("nvmlShutdown")
