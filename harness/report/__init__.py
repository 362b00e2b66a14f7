"""The report: one offline HTML file from the stored trials of a sweep.

    store -> estimates -> tables, figures, sentences -> panels -> page

`estimates` asks `results.estimates` for each cell, `figures` draws, `page` writes HTML; nothing
measures here. A new quantity is a line in `results.quantities`, a panel a function in `panels`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from harness.errors import MixedError, ReportError
from harness.report import (
    comparison,
    context,
    estimates,
    limits,
    page,
    panels,
    runs,
    still,
    style,
)
from harness.results import comparable, memory_class, store
from harness.spec import SPLITS

__all__ = ["Report", "compare", "write"]

NAME = "report.html"


@dataclass(frozen=True)
class Report:
    """A report that was written; `notices` are cautions that stand in it, a sentence each.

    `pictures` are the files of its main figures, if they were asked for.
    """

    path: Path
    notices: tuple[str, ...]
    pictures: tuple[Path, ...] = ()


def write(folder: Path, *, mix: bool = False, pictures: Sequence[str] = ()) -> Report:
    """Write `report.html` into a sweep's results folder.

    Args:
        folder: results of one sweep.
        mix: show trials of different environments, measurement versions or code all the same; the
            report says what differs.
        pictures: formats ("png", "svg") in which the main figures are written beside the page.

    Raises:
        StoreError: if the folder holds no results or cannot be written.
        ReportError: if no trial of the sweep has finished, or the pictures cannot be drawn.
        MixedError: if the trials do not belong together and `mix` is not set.
    """
    run = runs.read(folder, mix=mix)
    trials, measurements = run.tables.trials, run.tables.measurements
    around = panels.Around(run.records, limits.read(folder))
    looks = style.looks_of(trials)
    groups = estimates.groups(trials, measurements)
    sheets = [panels.sheet(group, looks, around) for group in groups]
    disagreements = memory_class.disagreements(trials, measurements)
    notices = (
        *run.tables.notices,
        *comparable.differences(trials),
        *(d.text for d in disagreements),
    )
    about = page.About(
        ", ".join(sorted(trials["sweep"].unique())),
        context.environments(folder, trials),
        context.settings(trials, run.records),
        notices,
    )
    path = folder / NAME
    store.write_text(path, page.render(trials, sheets, looks, about))
    return Report(path, notices, still.write(folder, sheets, pictures))


def compare(first: Path, second: Path, *, mix: bool = False) -> Report:
    """Write `compare-<first>.html` into the second folder: what changed between two runs.

    Each run must belong together by itself; the two must share environment and measurement
    version, but not code: its change is what a comparison is for.

    Raises:
        StoreError: if a folder holds no results, or the second cannot be written.
        ReportError: if a run holds no finished trial, or the runs have no setting in common.
        MixedError: if the runs do not belong together in that sense and `mix` is not set.
    """
    old, new = (runs.read(folder, mix=mix).tables for folder in (first, second))
    trials = pd.concat([old.trials, new.trials], ignore_index=True)
    found = comparable.differences(trials)
    fatal = [line for line in found if line.startswith(_FATAL)]
    if fatal and not mix:
        lines = "".join(f"\n  - {line}" for line in fatal)
        raise MixedError(
            f"{first} and {second} cannot be compared:{lines}\nmeasure both on one machine with "
            "one version of the metrics, or compare them all the same with --mix"
        )
    looks = style.looks_of(trials)
    sides = [estimates.groups(side.trials, side.measurements) for side in (old, new)]
    pairs = comparison.pairs(*sides)
    if not pairs:
        raise ReportError(
            f"{first} and {second} have no cell in common, so nothing can be compared: "
            f"{', '.join(map(estimates.word, SPLITS))} must be the same. The first has "
            f"{_labels(sides[0])}; the second has {_labels(sides[1])}"
        )
    sheets = [comparison.sheet(*pair, looks) for pair in pairs]
    paired = {group.key for group, _ in pairs}
    alone = [group for side in sides for group in side if group.key not in paired]
    left = [f"in one run alone, so not compared: {_labels(alone)}"] if alone else []
    notices = (*old.notices, *new.notices, *found, *left)
    machines = context.environments(second, new.trials)
    about = page.About(f"{first.resolve().name} → {second.resolve().name}", machines, {}, notices)
    path = second / f"compare-{first.resolve().name}.html"
    store.write_text(path, page.render(trials, sheets, looks, about))
    return Report(path, notices)


def _labels(groups: Sequence[estimates.Group]) -> str:
    """Where groups were measured, each axis named that is not as usual."""
    return "; ".join(f"({', '.join(group.key[: estimates.NAMED])})" for group in groups)


_FATAL = tuple(comparable.FIELDS[field] for field in ("environment", "measurement"))
