"""Tables of `ratebp-bench trend`: what moved, since when, and commits that could have done it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from harness.trend.history import Series
from harness.trend.moves import SeriesStep
from harness.trend.steps import LEAST_POINTS

_COMMITS: Final = 20
"""Commits of one step that are listed."""


def page(history: Sequence[Series], moved: Sequence[SeriesStep]) -> Iterator[RenderableType]:
    """A line on the history, a table of its steps, and their commits."""
    runs = len({date for series in history for date in series.dates})
    enough = sum(len(series.values) >= 2 * LEAST_POINTS for series in history)
    yield Text(
        f"{len(history)} series of {runs} runs, {enough} of them long enough for a step "
        f"({2 * LEAST_POINTS} points); {len(moved)} steps"
    )
    if not moved:
        return
    table = Table("cell", "metric", "change", "since", "p")
    for move in moved:
        since = f"{move.series.dates[move.step.at]} {move.first or ''}"
        change = f"{move.step.ratio - 1:+.1%}"
        metric = f"{move.series.metric} {move.series.phase}"
        table.add_row(move.series.cell, metric, change, since, f"{move.step.p:.1g}")
    yield table
    for (last, first), commits in _ranges(moved).items():
        yield Text(f"between {last or 'no commit'} and {first or 'no commit'}:")
        for line in commits[:_COMMITS]:
            yield Text(f"  {line}")
        if len(commits) > _COMMITS:
            yield Text(f"  and {len(commits) - _COMMITS} more: git log {last}..{first}")


def _ranges(moved: Sequence[SeriesStep]) -> dict[tuple[str | None, str | None], tuple[str, ...]]:
    """Each range of commits once, however many series moved in it."""
    return {(move.last, move.first): move.commits for move in moved}
