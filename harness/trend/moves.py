"""The steps of a whole history, and the commits that could have made them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.machine.git import GitError, git
from harness.trend import steps
from harness.trend.history import Series
from harness.trend.steps import Step


@dataclass(frozen=True)
class SeriesStep:
    """One step of one series.

    Attributes:
        last, first: commits of the last run before the step and of the first one after it; None
            outside git.
        commits: what git lists between them, the newest first, one line each; empty if git does
            not know both of them.
    """

    series: Series
    step: Step
    last: str | None
    first: str | None
    commits: tuple[str, ...]

    @property
    def words(self) -> str:
        """`+12.3 % since 2026-11-22T090300Z (1550abc124)`."""
        since = f"{self.series.dates[self.step.at]} ({self.first or 'no commit'})"
        return f"{self.step.ratio - 1:+.1%} since {since}"


def find(history: Sequence[Series], repository: Path = Path()) -> list[SeriesStep]:
    """Every step of every series whose values are positive, the largest first."""
    found = [
        _move(series, step, repository)
        for series in history
        if all(value > 0 for value in series.values)
        for step in steps.find(series.values)
    ]
    return sorted(found, key=lambda move: max(move.step.ratio, 1 / move.step.ratio), reverse=True)


def _move(series: Series, step: Step, repository: Path) -> SeriesStep:
    last, first = series.commits[step.at - 1], series.commits[step.at]
    between = _between(repository, last, first) if last and first else ()
    return SeriesStep(series, step, last, first, between)


def _between(repository: Path, last: str, first: str) -> tuple[str, ...]:
    try:
        listed = git(repository, "log", "--oneline", "--no-decorate", f"{last}..{first}")
    except GitError:
        return ()
    return tuple(listed.splitlines())
