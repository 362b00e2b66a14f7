"""What `ratebp-bench trend` shows."""

from __future__ import annotations

from dataclasses import replace

from rich.console import Console

from harness.console import trends
from harness.trend.history import Series
from harness.trend.moves import SeriesStep
from harness.trend.steps import Step

DATES = tuple(f"2026-01-0{day}T000000Z" for day in range(1, 7))
SERIES = Series(
    *("rate_m / net", "mem.live_peak", "step", "B", "exact", "e" * 12),
    DATES,
    tuple(f"{day:010d}" for day in range(6)),
    (100.0,) * 3 + (120.0,) * 3,
)
MOVE = SeriesStep(
    SERIES, Step(3, 1.2, 1e-6), "0000000002", "0000000003", ("0000000003 keep it all",)
)


def shown(*moved: SeriesStep) -> str:
    console = Console(width=120)
    with console.capture() as caught:
        for part in trends.page([SERIES], moved):
            console.print(part)
    return caught.get()


def test_a_quiet_history_is_one_line() -> None:
    assert shown() == ("1 series of 6 runs, 1 of them long enough for a step (6 points); 0 steps\n")


def test_a_step_has_its_change_its_date_and_its_commits() -> None:
    out = shown(MOVE)
    for words in ("rate_m / net", "mem.live_peak step", "+20.0%", DATES[3], "keep it all"):
        assert words in out


def test_commits_are_listed_once_and_not_without_end() -> None:
    many = tuple(f"{number:010d} change" for number in range(25))
    out = shown(replace(MOVE, commits=many), replace(MOVE, commits=many))
    assert out.count("between 0000000002 and 0000000003") == 1
    assert "and 5 more: git log 0000000002..0000000003" in out
