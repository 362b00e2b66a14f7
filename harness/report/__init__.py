"""The report: one offline HTML file from the stored trials of a sweep.

    store -> estimates -> tables, figures, sentences -> panels -> page

`estimates` asks `harness.stats`; `figures` draws; `page` writes HTML; nothing here measures. A new
quantity is a line in `quantities`, a new panel a function in `panels`.
"""

from __future__ import annotations

from pathlib import Path

from harness import store
from harness.errors import ReportError
from harness.report import context, estimates, page, panels, style

__all__ = ["write"]

NAME = "report.html"


def write(folder: Path) -> Path:
    """Write `report.html` into a sweep's results folder and return its path.

    Raises
    ------
    StoreError
        If the folder holds no results or cannot be written.
    ReportError
        If no trial of the sweep has finished.
    """
    tables = store.load(folder)
    if tables.trials.empty:
        raise ReportError(
            f"{folder} holds no finished trial, so there is nothing to report; run the sweep "
            "(again) with `ratebp-bench run`"
        )
    trials = estimates.latest(tables.trials)
    named = trials[["method", "method_name", "family"]].drop_duplicates("method").fillna("")
    looks = style.looks(named.itertuples(index=False, name=None))
    sheets = [panels.sheet(group, looks) for group in estimates.groups(trials, tables.measurements)]
    machines = context.environments(folder, trials)
    facts = context.settings(folder, trials)
    path = folder / NAME
    store.write_text(path, page.render(trials, sheets, looks, machines, facts))
    return path
