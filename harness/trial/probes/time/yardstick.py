"""Whether the frozen reference of a cell fits beside its method, and what it is.

The reference keeps its potentials for all time steps; a method that does not may run where the
reference cannot. Its needs are counted on fake tensors before it is built.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import psutil
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensorMode

from harness.trial.exact.tracker import LiveBytes
from harness.trial.probe import PHASES, Bench
from harness.trial.reference import REFERENCE_VERSION, Reference

SHARE: Final = 0.8
"""Of the free memory, what the reference may take: operators need workspaces that nobody counts."""

_LENGTHS: Final = (2, 3)
_COPIES: Final = 3
"""Of the parameters: themselves, gradients, momentum."""

_CGROUP: Final = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Yardstick:
    """The reference of a cell, or None, and a sentence for the record."""

    reference: Reference | None
    fact: str


def fitting(bench: Bench) -> Yardstick:
    """The reference of `bench` if it can run here."""
    try:
        needs, free = needed(bench), available(bench.device)
        if needs + _ahead(bench) > SHARE * free:
            return left_out(f"needs {needs} B, free {free} B")
        reference = Reference(bench.model, bench.neurons, bench.cell.T, autocast=_reduced(bench))
    # A network that cannot take T*B samples at once, or whose neurons are not LIF: the method may
    # be timed all the same.
    except Exception as error:
        return left_out(f"{type(error).__name__}: {error}")
    return Yardstick(reference, f"version {REFERENCE_VERSION}")


def _ahead(bench: Bench) -> int:
    """Bytes that the method's own first step will keep: gradients and momentum."""
    return 2 * sum(p.nbytes for p in bench.model.parameters() if p.grad is None)


def left_out(why: str) -> Yardstick:
    """No reference, for this reason."""
    return Yardstick(None, f"left out: {why}")


def needed(bench: Bench) -> int:
    """Bytes that building and running the reference takes, a little more rather than less.

    Counted at two lengths and continued in a straight line: the peak of each phase is affine in T,
    but for less than a per mille where T is small. The gradients that the backward leaves are
    counted in its peak and once more with the parameters.
    """
    mode = FakeTensorMode()
    short = {T: _fake(bench, mode, T) for T in _LENGTHS}
    tracker = LiveBytes()
    peaks: dict[int, list[int]] = {}
    with mode, tracker:
        for T, (reference, x, y) in short.items():
            before = tracker.live  # gradients and momentum of the length before
            names = {phase: f"{phase} {T}" for phase in PHASES}
            reference.step(x, y, partial(_renamed, tracker, names))
            peaks[T] = [tracker.peak(name) - before for name in names.values()]
    first, second = _LENGTHS
    slope = (bench.cell.T - first) / (second - first)
    peak: float = max(low + slope * (high - low) for low, high in zip(*peaks.values(), strict=True))
    parameters: int = sum(p.nbytes for p in bench.model.parameters())
    buffers: int = sum(b.nbytes for b in bench.model.buffers())
    return _COPIES * parameters + buffers + round(peak)


def _renamed(
    tracker: LiveBytes, names: Mapping[str, str], phase: str
) -> AbstractContextManager[None]:
    return tracker.phase(names[phase])


def available(device: torch.device) -> int:
    """Bytes that this process could still get on `device`."""
    if device.type == "cuda":
        cached: int = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return cached + int(torch.cuda.mem_get_info(device)[0])
    return min([psutil.virtual_memory().available, *_group()])


def _group() -> list[int]:
    """What the control group still allows, if it sets a limit."""
    try:
        limit, used = ((_CGROUP / f"memory.{name}").read_text() for name in ("max", "current"))
    except OSError:
        return []
    return [int(limit) - int(used)] if limit.strip().isdigit() else []


def _fake(bench: Bench, mode: FakeTensorMode, T: int) -> tuple[Reference, Tensor, Tensor]:
    """A reference of another length on tensors without memory, and a batch for it."""
    with FakeCopyMode(mode):
        reference = Reference(bench.model, bench.neurons, T, autocast=_reduced(bench))
    x = mode.from_tensor(bench.x[:1].expand(T, *bench.x.shape[1:]))
    return reference, x, mode.from_tensor(bench.y)


def _reduced(bench: Bench) -> bool:
    return bench.cell.dtype == "bfloat16"
