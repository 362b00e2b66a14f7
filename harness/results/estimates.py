"""From raw samples to one estimate of one cell: for a run's closing table, the report, the history.

A cell is what its table groups by, its trials are its processes. Each process says one number, made
of its samples as the quantity says, and `harness.results.stats` makes an estimate of these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any

import pandas as pd

from harness.results import stats
from harness.results.quantities import Quantity

ByTrial = Mapping[str, list[float]]
Trial = Mapping[str, Any]


class Readings:
    """The `measurements` table, indexed once: metric -> phase -> trial -> samples in order, in SI.

    Filtering the table anew for every figure would take most of a report's time.
    """

    def __init__(self, measurements: pd.DataFrame) -> None:
        """Index the table."""
        self._found: dict[str, dict[str, dict[str, list[float]]]] = {}
        self._values: dict[tuple[str, str, Callable[..., float]], dict[str, float]] = {}
        for (metric, phase, trial), values in _runs(measurements):
            trials = self._found.setdefault(metric, {}).setdefault(phase, {})
            trials.setdefault(trial, []).extend(values)

    def metrics(self, prefix: str) -> list[str]:
        """Names of the metrics that start so, sorted."""
        return sorted(metric for metric in self._found if metric.startswith(prefix))

    def phases(self, metric: str) -> Mapping[str, ByTrial]:
        """Phase -> trial -> samples, in the order in which phases were first recorded."""
        return self._found.get(metric, {})

    def of(self, metric: str, phase: str = "") -> ByTrial:
        """Trial -> samples of one phase; without a phase, of the only one that the metric has."""
        phases = self.phases(metric)
        if phase or len(phases) == 1:
            return phases.get(phase or next(iter(phases)), {})
        return {trial: values for found in phases.values() for trial, values in found.items()}

    def values(self, quantity: Quantity) -> Mapping[str, float]:
        """Trial -> what its process says of a quantity, in SI; found once for all figures."""
        key = quantity.metric, quantity.phase, quantity.reduce
        if key not in self._values:
            found = self.of(quantity.metric, quantity.phase).items()
            self._values[key] = {trial: quantity.reduce(samples) for trial, samples in found}
        return self._values[key]


def cells(trials: pd.DataFrame, by: Sequence[str]) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    """The trials of each cell, by its values in the columns `by`, in the order of the table.

    What is absent is None in a key.
    """
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for trial in records(trials):
        key = tuple(None if value != value else value for value in map(trial.get, by))
        found.setdefault(key, []).append(trial)
    return found


def centres(
    readings: Readings, quantity: Quantity, trials: Sequence[Trial]
) -> dict[tuple[int, int], float]:
    """(seed, repeat) -> what that process of a cell says of a quantity, in its display unit."""
    values = readings.values(quantity)
    return {
        (int(trial["seed"]), int(trial["repeat"])): values[trial["trial"]] * quantity.factor
        for trial in trials
        if trial["trial"] in values
    }


def estimate(
    readings: Readings, quantity: Quantity, trials: Sequence[Trial]
) -> stats.Estimate | None:
    """The median over a cell's processes with its interval, in the display unit of the quantity.

    A single process whose number is a median is bounded by the spread of its samples, any other by
    nothing. None where no process says anything of the quantity.
    """
    values = readings.values(quantity)
    found = [trial["trial"] for trial in trials if trial["trial"] in values]
    if not found:
        return None
    if len(found) > 1:
        return stats.over_processes([values[trial] * quantity.factor for trial in found])
    only = [values[found[0]]]
    if quantity.reduce is median:
        only = readings.of(quantity.metric, quantity.phase)[found[0]]
    return stats.summarise([[value * quantity.factor for value in only]])


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame as dictionaries."""
    names = [str(name) for name in frame.columns]
    columns = [frame[name].tolist() for name in frame.columns]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _runs(measurements: pd.DataFrame) -> Iterator[tuple[tuple[str, str, str], list[float]]]:
    """Stretches of rows of one metric, phase and trial."""
    if measurements.empty:
        return
    rows = measurements.reset_index(drop=True)
    names: Any = rows[["metric", "phase", "trial"]]
    starts = (names != names.shift()).any(axis="columns").to_numpy().nonzero()[0].tolist()
    keys = names.iloc[starts].itertuples(index=False, name=None)
    values = rows["value"].astype(float).tolist()
    for key, start, end in zip(keys, starts, [*starts[1:], len(values)], strict=True):
        yield key, values[start:end]
