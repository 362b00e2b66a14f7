"""The device of a trial, held open: NVML stays initialised, so that readings are quick."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.machine.gpu.nvml import Absent, Library, library
from harness.machine.gpu.select import Handle, select


@dataclass(frozen=True)
class Device:
    """A board or a MIG instance.

    `uuid` is empty where the driver withholds it; `mig` tells an instance from a board.
    """

    nvml: Library
    at: Handle

    @property
    def uuid(self) -> str:
        """Name that `CUDA_VISIBLE_DEVICES` takes."""
        return self.at.uuid

    @property
    def mig(self) -> bool:
        """Whether it is an instance of a board."""
        return self.at.mig

    def ask(self, function: str, *arguments: Any, **keywords: Any) -> Any:
        """A figure of the device itself, or `Absent`."""
        return self.nvml.ask(function, self.at.handle, *arguments, **keywords)

    def ask_board(self, function: str, *arguments: Any) -> Any:
        """A figure that exists for the whole board alone (clocks, power), or `Absent`."""
        return self.nvml.ask(function, self.at.board, *arguments)


@contextlib.contextmanager
def device(environment: Mapping[str, str] = os.environ) -> Iterator[Device | Absent]:
    """Open the device that a process with these variables would call `cuda:0`."""
    with library() as opened:
        if isinstance(opened, Absent):
            yield opened
            return
        chosen = select(opened, environment)
        yield chosen if isinstance(chosen, Absent) else Device(opened, chosen)
