"""Every method of the library stores what it declares: the class from its bytes is its own."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.results.memory_class import memory_class
from harness.spec import Cell, Choice
from harness.trial.bench import build
from harness.trial.exact.tracker import LiveBytes
from ratebp import methods

STEPS = (2, 3, 4, 6)
NETWORK = f"{Path(__file__).with_name('small_network.py')}:small"


@pytest.fixture(autouse=True, scope="module")
def few_objects() -> Iterator[None]:
    """Hide from the garbage collector what is there already: the tracker looks at every object."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def _stored(method: str, T: int) -> int:
    """Bytes alive between forward and backward, of real tensors."""
    bench = build(Cell(Choice.make(method), Choice.make(NETWORK), "digits", T, 2))
    bench.rehearse()
    tracker = LiveBytes(bench.persistent())
    with tracker:
        bench.step(tracker.phase)
    return tracker.at_entry("backward")


@pytest.mark.parametrize("method", methods.names())
def test_the_measured_class_is_the_declared_one(method: str) -> None:
    points = [(T, _stored(method, T)) for T in STEPS]
    assert memory_class(points) == methods.get(method).info.memory, points
