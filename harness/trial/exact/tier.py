"""The exact tier of one bench: bytes and operations that depend on no device, clock or allocator.

The same whole numbers on real, fake and meta tensors, of the program that the cell names: its
operators are an axis, so that a figure never depends on whether there is a compiler. In three
passes: a warm-up step, which makes gradients and optimiser state and in which the hooks of
`exact.saved` sit; a step that is watched operator by operator; and the plain forward, watched
likewise.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import torch

from harness.errors import AbsentError, TrialError
from harness.rows import Row
from harness.trial.exact.counters import Cost, Operations
from harness.trial.exact.saved import Saved
from harness.trial.exact.tracker import LiveBytes
from harness.trial.probe import PHASES, Bench

_PLAIN: Final = "plain_forward"


@dataclass(frozen=True)
class Exact:
    """Rows of kind `exact`, and the facts that decide them."""

    rows: tuple[Row, ...]
    facts: dict[str, Any] = field(default_factory=dict)


def measure(bench: Bench) -> Exact:
    """Count one training step that finds gradients and optimiser state in place.

    Random draws of that step are those of the cell's seed: the global generator is seeded anew.

    Facts: `dispatch_device`, the type of device whose operators were counted. Other devices may
    save other tensors, so figures compare only where it is the same. `operators`, see `Bench`.

    Raises:
        AbsentError: if the cell's execution hides its operators.
        TrialError: if the step leaves out a phase, keeps more or fewer bytes each time, computes
            past the dispatcher, runs compiled code, or uses an operator of unknown cost.
    """
    if bench.uncounted is not None:
        raise AbsentError(bench.uncounted)
    facts = {"dispatch_device": bench.device.type, "operators": bench.operators}
    return Exact(_counted(bench), facts)


def _counted(bench: Bench) -> tuple[Row, ...]:
    saved = _warm_up(bench)
    operations = Operations()
    tracker = LiveBytes(bench.persistent(), observer=operations.observe)

    @contextmanager
    def phase(name: str) -> Iterator[None]:
        with tracker.phase(name), operations.phase(name):
            yield

    torch.manual_seed(bench.cell.seed)  # what a method draws at random decides what it stores
    with tracker:
        bench.step(phase)
        step, peak, persistent = operations.total(), tracker.peak(), tracker.persistent
        _check_steady(tracker)
        with phase(_PLAIN):
            bench.plain_forward()
    costs = {**{name: operations.total(name) for name in (*PHASES, _PLAIN)}, "step": step}
    return (*_bytes(tracker, peak, persistent), *_saved(saved), *_operations(costs))


def _warm_up(bench: Bench) -> Saved:
    """Run one step; what autograd saved in it."""
    saved = Saved(bench.persistent())
    entered: set[str] = set()

    @contextmanager
    def phase(name: str) -> Iterator[None]:
        entered.add(name)
        with saved.phase(name):
            yield

    bench.step(phase)
    if absent := [name for name in PHASES if name not in entered]:
        raise TrialError(
            f"a training step never entered phase {' and '.join(map(repr, absent))}, so its cost "
            "cannot be told by phase; do all work inside `with context.phase(...)`"
        )
    return saved


def _check_steady(tracker: LiveBytes) -> None:
    """Refuse a step that leaves more or less behind than it found: no two would measure alike."""
    if tracker.live:
        gc.collect()  # reference cycles hold tensors too, but not for good
    if tracker.live:
        what = "keeps" if tracker.live > 0 else "frees"
        raise TrialError(
            f"after its warm-up a training step {what} {abs(tracker.live)} bytes more than it "
            "found, so its peak is no steady figure. State that outlives a step must be replaced "
            "by state of the same size, from the first step on"
        )


def _bytes(tracker: LiveBytes, step: int, persistent: int) -> Iterator[Row]:
    peaks = {"step": step, **{phase: tracker.peak(phase) for phase in PHASES}}
    for phase, peak in peaks.items():
        yield _row("mem.live_peak", phase, "B", peak)
    plain = tracker.peak(_PLAIN) - tracker.at_entry(_PLAIN)
    yield _row("mem.live_after_forward", "forward", "B", tracker.at_entry("backward"))
    yield _row("mem.plain_forward", "forward", "B", plain)
    yield _row("mem.trace", "forward", "B", peaks["forward"] - plain)
    yield _row("mem.persistent", "step", "B", persistent)


def _saved(saved: Saved) -> Iterator[Row]:
    yield _row("mem.saved", "forward", "B", saved.nbytes)
    yield _row("mem.saved_count", "forward", "1", saved.count)


def _operations(costs: dict[str, Cost]) -> Iterator[Row]:
    for phase, cost in costs.items():
        yield _row("ops.count", phase, "1", cost.count)
        yield _row("ops.flops", phase, "FLOP", cost.flops)
        yield _row("ops.elem_bytes", phase, "B", cost.elem_bytes)


def _row(metric: str, phase: str, unit: str, value: int) -> Row:
    return Row(metric, phase, unit, "exact", (value,))
