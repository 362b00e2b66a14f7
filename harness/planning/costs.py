"""The exact cost of one network by each method, at several numbers of time steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from harness.data.facts import synthetic
from harness.outcome import Outcome
from harness.planning.client import Planner
from harness.spec import Cell, Choice

STEPS: Final = (1, 2, 4, 8)
"""Time steps at which a network is counted."""

Costs = Mapping[str, Mapping[int, Outcome]]
"""By method and T."""


def costs(
    model: Choice,
    methods: Sequence[str],
    shape: tuple[int, ...],
    classes: int,
    batch: int,
    folder: str,
    planner: Planner,
    told: Callable[[int, int], object] = lambda done, total: None,
) -> Costs:
    """Count one training step of each method at each T of `STEPS`, on fake tensors."""
    data = Choice(synthetic(shape, classes))
    cells = [
        Cell(Choice(method), model, data, T, batch, folder=folder)
        for method in methods
        for T in STEPS
    ]
    found: dict[str, dict[int, Outcome]] = {method: {} for method in methods}
    for done, (cell, outcome) in enumerate(planner.predict(cells), start=1):
        found[cell.method.name][cell.T] = outcome
        told(done, len(cells))
    return found
