"""The closing table of a run: every cell with its status and headline figures."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any, Final, Literal

import pandas as pd
from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from harness.console.progress import duration, headline
from harness.outcome import STATUSES
from harness.results import estimates
from harness.results.estimates import Readings, Trial
from harness.results.quantities import QUANTITIES
from harness.results.store import Tables
from harness.run.runner import Summary
from harness.spec import AXES, LATER, NUMBERS, SPLITS

CELL: Final = [*SPLITS, *(axis.name for axis in reversed(AXES) if not axis.splits)]
"""What names a cell, in the order of sorting."""

_LABEL: Final = 30
"""Columns that a label gets before it is folded."""


_COLUMNS: Final = {
    "peak\nMiB": ("live_peak", 2),
    "forward\nms": ("forward", 2),
    "trace\nms": ("trace", 2),
    "backward\nms": ("backward", 2),
    "step\nms": ("step", 2),
    "test\nacc %": ("accuracy", 1),
}
"""By heading: the key of a quantity, and digits after the point."""


def cells(tables: Tables) -> Table:
    """One row a cell; figures are medians over repeats of each trial's median.

    Columns that are the same in every row are left to `caption`, figures that nobody measured are
    left out; the rest fits 100 columns.
    """
    trials = _budgeted(tables.trials)
    varying = _varying(trials)
    found = dict(sorted(estimates.cells(trials, CELL).items()))
    columns = _columns(found.values(), Readings(tables.measurements))
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in varying:
        longest = max(len(str(value)) for value in trials[name])
        side: Literal["left", "right"] = "right" if name in NUMBERS else "left"
        table.add_column(name, justify=side, overflow="fold", min_width=min(longest, _LABEL))
    for heading in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("status", overflow="fold")
    for row, (key, mine) in enumerate(found.items()):
        names = dict(zip(CELL, key, strict=True))
        numbers = [column[row] for column in columns.values()]
        table.add_row(*(Text(str(names[name])) for name in varying), *numbers, _status(mine))
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


def _columns(cells: Collection[Sequence[Trial]], readings: Readings) -> dict[str, list[str]]:
    """The figures that any cell has: heading -> a number for each cell, or nothing."""
    found = {}
    for heading, (key, digits) in _COLUMNS.items():
        known = [estimates.estimate(readings, QUANTITIES[key], trials) for trials in cells]
        if any(known):
            found[heading] = [f"{each.value:.{digits}f}" if each else "" for each in known]
    return found


def _status(trials: Sequence[Trial]) -> Text:
    """`ok`, the one status of all trials, or what did not go well with its probes."""
    probes: dict[str, dict[str, None]] = {}
    for trial in trials:
        probes.setdefault(trial["status"], {})[trial["probe"]] = None
    if len(probes) == 1:
        (status,) = probes
        return Text(status, style="green" if status == "ok" else "red")
    words = [
        f"{status}: {', '.join(probes[status])}"
        for status in STATUSES
        if status in probes and status != "ok"
    ]
    return Text("; ".join(words), style="red")
