"""The headline figures of a sweep's results: one number a cell and metric, with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from harness.results import estimates
from harness.results.estimates import Readings
from harness.results.quantities import Quantity
from harness.results.stats import Estimate
from harness.results.store import Tables
from harness.spec import AXES

HEADLINES: Final = (
    ("mem.live_peak", "step"),
    ("mem.live_after_forward", "forward"),
    ("mem.persistent", "step"),
    ("ops.count", "step"),
    ("ops.flops", "step"),
    ("ops.elem_bytes", "step"),
    ("cuda.requested_peak", "step"),
    ("time.step", "step"),
    ("ratio.step", "step"),
    ("energy.step", "step"),
)
"""Metric and phase of what is worth following over months; of all of these, less is better."""

_AXES: Final = tuple(axis for axis in AXES if not axis.pooled)
_ORIGIN: Final = ("environment", "measurement", "commit")


@dataclass(frozen=True)
class Figure:
    """One number: the median over processes.

    `low` and `high` bound it as `results.stats.summarise` says, and equal it where one process says
    all; `commit` is None outside a checkout.
    """

    cell: str
    metric: str
    phase: str
    unit: str
    kind: str
    value: float
    low: float
    high: float
    processes: int
    environment: str
    measurement: int
    commit: str | None


def summarise(tables: Tables) -> list[Figure]:
    """The headline figures of all trials that ended well, in the order of their cells' names."""
    trials = tables.trials[tables.trials["status"] == "ok"]
    readings = Readings(tables.measurements)
    one = tables.measurements.drop_duplicates(["metric", "phase"])
    kinds = estimates.cells(one, ["metric", "phase"])
    found = []
    names = [*(axis.name for axis in _AXES), *_ORIGIN]
    for key, mine in estimates.cells(trials, names).items():
        known = dict(zip(names, key, strict=True))
        for metric, phase in HEADLINES:
            quantity = Quantity(metric, metric, metric, phase, "", "", 1.0)
            told = estimates.estimate(readings, quantity, mine)
            if told is not None:
                row = kinds[metric, phase][0]
                found.append(_figure(known, quantity, row["unit"], row["kind"], told))
    order = {metric: number for number, metric in enumerate(HEADLINES)}
    return sorted(found, key=lambda figure: (figure.cell, order[figure.metric, figure.phase]))


def _figure(
    known: Mapping[str, Any], quantity: Quantity, unit: str, kind: str, told: Estimate
) -> Figure:
    bounded = told.basis != "none"
    where = (
        f"{axis.name}={known[axis.name]}" if axis.number else str(known[axis.name])
        for axis in _AXES
        if not (axis.later and known[axis.name] == axis.default)
    )
    return Figure(
        cell=" / ".join(where),
        metric=quantity.metric,
        phase=quantity.phase,
        unit=unit,
        kind=kind,
        value=told.value,
        low=told.low if bounded else told.value,
        high=told.high if bounded else told.value,
        processes=told.processes,
        environment=known["environment"],
        measurement=int(known["measurement"]),
        commit=None if known["commit"] is None else str(known["commit"]),
    )
