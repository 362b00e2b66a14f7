"""The headline figures of a sweep's results: one number a cell and metric, with its interval."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from harness.results import stats
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
_PLACE: Final = ("environment", "measurement", "commit")


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
    wanted = pd.DataFrame(HEADLINES, columns=["metric", "phase"])
    rows = tables.measurements.merge(wanted, on=["metric", "phase"]).merge(trials, on="trial")
    keys = [*(axis.name for axis in _AXES), "metric", "phase", "unit", "kind", *_PLACE]
    found = [
        _figure(dict(zip(keys, key, strict=True)), group)
        for key, group in rows.groupby(keys, dropna=False)
    ]
    order = {metric: number for number, metric in enumerate(HEADLINES)}
    return sorted(found, key=lambda figure: (figure.cell, order[figure.metric, figure.phase]))


def _figure(key: dict[str, Any], rows: pd.DataFrame) -> Figure:
    processes = [group.to_numpy() for _, group in rows.groupby("trial")["value"]]
    estimate = stats.summarise(processes)
    known = estimate.basis != "none"
    where = (
        f"{axis.name}={key[axis.name]}" if axis.number else str(key[axis.name])
        for axis in _AXES
        if not (axis.later and key[axis.name] == axis.default)
    )
    return Figure(
        cell=" / ".join(where),
        metric=key["metric"],
        phase=key["phase"],
        unit=key["unit"],
        kind=key["kind"],
        value=estimate.value,
        low=estimate.low if known else estimate.value,
        high=estimate.high if known else estimate.value,
        processes=estimate.processes,
        environment=key["environment"],
        measurement=int(key["measurement"]),
        commit=None if _absent(key["commit"]) else str(key["commit"]),
    )


def _absent(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
