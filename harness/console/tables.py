"""The closing table of a run: every cell with its status and headline figures."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import pandas as pd
from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from harness.console.progress import duration, headline
from harness.results.store import Tables
from harness.rows import STATUSES
from harness.run.runner import Summary
from harness.spec import AXES, LATER, NUMBERS, SPLITS

CELL: Final = [*SPLITS, *(axis.name for axis in reversed(AXES) if not axis.splits)]
"""What names a cell, in the order of sorting."""

_LABEL: Final = 30
"""Columns that a label gets before it is folded."""


@dataclass(frozen=True)
class _Figure:
    """A column of the table: which samples, in which unit, with how many digits."""

    heading: str
    metric: str
    factor: float
    digits: int
    phase: str | None = None
    last: bool = False
    """Take the last sample of a trial, not the median."""


_FIGURES: Final = (
    _Figure("peak\nMiB", "mem.live_peak", 1 / 2**20, 2, phase="step"),
    _Figure("forward\nms", "time.forward", 1e3, 2),
    _Figure("trace\nms", "time.trace", 1e3, 2),
    _Figure("backward\nms", "time.backward", 1e3, 2),
    _Figure("step\nms", "time.step", 1e3, 2),
    _Figure("test\nacc %", "acc.test", 1e2, 1, last=True),
)


def cells(tables: Tables) -> Table:
    """One row a cell; figures are medians over repeats of each trial's median.

    Columns that are the same in every row are left to `caption`, figures that nobody measured are
    left out; the rest fits 100 columns.
    """
    trials = _budgeted(tables.trials)
    varying = _varying(trials)
    columns = {figure: _values(figure, trials, tables.measurements) for figure in _FIGURES}
    columns = {figure: values for figure, values in columns.items() if values}
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in varying:
        longest = max(len(str(value)) for value in trials[name])
        side: Literal["left", "right"] = "right" if name in NUMBERS else "left"
        table.add_column(name, justify=side, overflow="fold", min_width=min(longest, _LABEL))
    for figure in columns:
        table.add_column(figure.heading, justify="right", no_wrap=True)
    table.add_column("status", overflow="fold")
    for key, group in trials.groupby(CELL, sort=True):
        names = dict(zip(CELL, key, strict=True))
        numbers = [_shown(figure, values.get(key)) for figure, values in columns.items()]
        table.add_row(*(Text(str(names[name])) for name in varying), *numbers, _status(group))
    return table


def conclusion(summary: Summary) -> list[RenderableType]:
    """What the user reads at the end: cells, counts, failures with where to look, paths, time."""
    tables, folder = summary.tables, summary.folder
    trials = tables.trials
    parts: list[RenderableType] = [] if trials.empty else [Text(caption(trials)), cells(tables)]
    parts.append(Text(f"trials: {counts(trials)}"))
    failed = trials[trials["trial"].isin(summary.failures)]
    parts += [Text(_failure(trial), style="red") for trial in failed.to_dict("records")]
    if summary.failures:
        parts.append(Text(f"what failed trials printed: {folder / 'logs'}/<trial>"))
        parts += [Text(remedy) for remedy in _remedies(set(failed["status"]))]
    if summary.missing:
        parts.append(Text(f"{summary.missing} trials are missing; the same command goes on there"))
    parts.append(Text(f"tables: {folder / 'trials.csv'}, {folder / 'measurements.csv'}"))
    made = f"{summary.measured} measured, {summary.kept} kept from before"
    parts.append(Text(f"time: {duration(summary.seconds)} ({made})"))
    return parts


def caption(trials: pd.DataFrame) -> str:
    """What all cells have in common."""
    varying = _varying(trials)
    shared = (name for name in CELL if name not in varying and name != "training")
    first = {name: trials[name].iloc[0] for name in shared}
    fixed = [f"{name}={value}" for name, value in first.items() if value != LATER.get(name)]
    return "one row a cell" + (f"; all at {', '.join(fixed)}" if fixed else "")


def counts(trials: pd.DataFrame) -> str:
    """`64 ok, 1 timeout, 1 oom_cuda`, in the fixed order of statuses."""
    found = trials["status"].value_counts()
    return ", ".join(f"{found[name]} {name}" for name in STATUSES if name in found) or "none"


def _remedies(statuses: set[str]) -> list[str]:
    """What to do about failures: a time-out stands, everything else is measured again."""
    remedies = []
    if statuses - {"timeout"}:
        which = "these, time-outs aside," if "timeout" in statuses else "these"
        remedies.append(f"run the same command again to measure only {which} anew")
    if "timeout" in statuses:
        remedies.append("a time-out stands until the sweep allows more: raise its timeout_s")
    return remedies


def _budgeted(trials: pd.DataFrame) -> pd.DataFrame:
    """Let a cell's costs share the row of its training, unless there are several budgets."""
    budgets = trials["training"].fillna("")
    return trials.assign(training=budgets if trials["training"].nunique() > 1 else "")


def _varying(trials: pd.DataFrame) -> list[str]:
    return [name for name in CELL if name == "method" or trials[name].nunique() > 1]


def _failure(trial: Mapping[Hashable, Any]) -> str:
    """One failed trial: its id, what it was, and its error in a line."""
    error = headline(str(trial["error"] or ""))
    place = f"{trial['method']} {trial['model']} T={trial['T']} B={trial['batch']}"
    return f"{trial['status']}: {place} {trial['probe']} ({trial['trial']}): {error}"


def _values(figure: _Figure, trials: pd.DataFrame, rows: pd.DataFrame) -> Mapping[object, float]:
    """The figure of each cell that has it, by the cell's key."""
    rows = rows[rows["metric"] == figure.metric]
    if figure.phase is not None:
        rows = rows[rows["phase"] == figure.phase]
    by_trial = rows.groupby("trial")["value"]
    one = (by_trial.last() if figure.last else by_trial.median()).rename("value").reset_index()
    joined = trials.merge(one, on="trial")
    return {} if joined.empty else dict(joined.groupby(CELL)["value"].median())


def _shown(figure: _Figure, value: float | None) -> str:
    return "" if value is None else f"{value * figure.factor:.{figure.digits}f}"


def _status(group: pd.DataFrame) -> Text:
    """`ok`, the one status of all trials, or what did not go well with its probes."""
    found = group["status"].unique()
    if len(found) == 1:
        return Text(str(found[0]), style="green" if found[0] == "ok" else "red")
    words = [
        f"{status}: {', '.join(group.loc[group['status'] == status, 'probe'].unique())}"
        for status in STATUSES
        if status in found and status != "ok"
    ]
    return Text("; ".join(words), style="red")
