"""The live-bytes tracker against other instruments, for every method on one small network."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from probe_bench import small_heap
from torch.distributed._tools.mem_tracker import MemTracker

import ratebp
from harness.spec import Cell, Choice
from harness.trial.bench import build
from harness.trial.exact.tracker import LiveBytes
from harness.trial.probe import Bench
from harness.trial.probes.memory import requested_peak

SCRATCH = 256 * 1024
"""Bytes inside one convolution of the network below: the first one takes 246,352 by itself, forward
and backward. They add to the count where such an operator runs near the exact peak.
"""


@pytest.fixture(autouse=True, scope="module")
def _small_heap() -> Iterator[None]:
    with small_heap():
        yield


def warmed(method: str) -> Bench | None:
    """A bench after two steps; None where the method refuses norms."""
    model = Choice.make("tiny_resnet", {"width": 0.25})
    cell = Cell(Choice(method), model, "synthetic-3x16x16-4", 2, 4)
    try:
        bench = build(cell)
    except ratebp.BindError:
        assert not ratebp.methods.get(method).info.norms
        return None
    bench.step()
    bench.step()
    torch.manual_seed(0)
    return bench


def tracker_of_torch(bench: Bench) -> int | None:
    """Peak by torch's own tracker; None where it refuses modules that run once a time step."""
    persistent = bench.persistent()
    other = MemTracker()
    other.track_external(*persistent)
    try:
        with other:
            bench.step()
    except NotImplementedError:
        return None
    known = {id(s): s.nbytes() for s in (t.untyped_storage() for t in persistent)}
    total: int = other.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"]
    return total - sum(known.values())


@pytest.mark.deep_but("bptt_m", "rate_m", "sltt")
@pytest.mark.parametrize("method", ratebp.methods.names())
def test_other_instruments_agree(method: str) -> None:
    bench = warmed(method)
    if bench is None:
        return
    tracker = LiveBytes(bench.persistent())
    with tracker:
        bench.step(tracker.phase)
    requested = requested_peak(bench.step)
    assert 0 <= requested - tracker.peak() <= SCRATCH
    torch.manual_seed(0)
    other = tracker_of_torch(bench)
    refusable = ratebp.methods.get(method).info.layout == "single"
    assert other == tracker.peak() or (other is None and refusable)
