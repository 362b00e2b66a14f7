"""The report: one offline HTML file from the stored trials of a sweep.

    store -> estimates -> tables, figures, sentences -> panels -> page

`estimates` asks `harness.stats`; `figures` draws; `page` writes HTML; nothing here measures. A new
quantity is a line in `quantities`, a new panel a function in `panels`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness import belong, growth, store
from harness.errors import ReportError
from harness.report import context, estimates, page, panels, style

__all__ = ["write"]

NAME = "report.html"


@dataclass(frozen=True)
class Report:
    """A report that was written; `notices` are cautions that stand in it, a sentence each."""

    path: Path
    notices: tuple[str, ...]


def write(folder: Path, *, mix: bool = False) -> Report:
    """Write `report.html` into a sweep's results folder.

    Parameters
    ----------
    folder:
        Results of one sweep.
    mix:
        Show trials of different environments, measurement versions or code all the same; the report
        says what differs.

    Raises
    ------
    StoreError
        If the folder holds no results or cannot be written.
    ReportError
        If no trial of the sweep has finished.
    MixedError
        If the trials do not belong together and `mix` is not set.
    """
    tables = store.load(folder)
    if tables.trials.empty:
        raise ReportError(
            f"{folder} holds no finished trial, so there is nothing to report; run the sweep "
            "(again) with `ratebp-bench run`"
        )
    trials = tables.trials
    if not mix:
        belong.check(trials)
    named = trials[["method", "method_name", "family"]].drop_duplicates("method").fillna("")
    looks = style.looks(named.itertuples(index=False, name=None))
    sheets = [panels.sheet(group, looks) for group in estimates.groups(trials, tables.measurements)]
    machines = context.environments(folder, trials)
    facts = context.settings(folder, trials)
    disagreements = growth.disagreements(trials, tables.measurements)
    notices = (*tables.notices, *belong.differences(trials), *(d.text for d in disagreements))
    path = folder / NAME
    store.write_text(path, page.render(trials, sheets, looks, machines, facts, notices))
    return Report(path, notices)
