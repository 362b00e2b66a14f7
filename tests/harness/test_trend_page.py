"""The history as a page: what moved comes first, and every series has its line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from report_browser import BROWSER, Tab, axe, pictures, tabs

from harness.trend import page
from harness.trend.history import Series
from harness.trend.moves import SeriesStep
from harness.trend.steps import find

NEW = "<script>alert(1)</script>"
DAYS = tuple(f"2026-11-0{day}T000000Z" for day in range(1, 8))


def _series(cell: str, values: tuple[float, ...]) -> Series:
    commits = tuple(f"c{number}" for number in range(len(values)))
    dates = DAYS[: len(values)]
    return Series(cell, "time.step", "step", "s", "noisy", "e", dates, commits, values)


FLAT = _series(NEW, (2.0,))
RISEN = _series("sltt", (1.0, 1.001, 0.999, 1.2, 1.201, 1.199))
(STEP,) = find(RISEN.values)
MOVED = [SeriesStep(RISEN, STEP, "c2", "c3", ("abc a <b>cause</b>",))]


@pytest.fixture(scope="module")
def text() -> str:
    return page.render([FLAT, RISEN], MOVED)


def test_what_moved_comes_first_with_since_when_and_which_commits(text: str) -> None:
    assert "2 series of 6 runs, 2026-11-01T000000Z to 2026-11-06T000000Z; 1 steps" in text
    assert "+20.0% since 2026-11-04T000000Z (c3)" in text
    assert "abc a &lt;b&gt;cause" in text
    assert text.index('scope="row">sltt') < text.index('scope="row">&lt;script')
    assert "<script" not in text


def test_a_line_marks_its_step_at_the_first_run_after_it() -> None:
    drawn = page.line(RISEN, MOVED)
    points = re.search(r'<path d="M([^"]+)"', drawn)
    mark = re.search(r'class="step" d="M([\d.]+)', drawn)
    assert points
    assert mark
    places = [tuple(map(float, pair.split())) for pair in points[1].split("L")]
    assert len(places) == 6
    assert float(mark[1]) == places[STEP.at][0]
    assert min(y for _, y in places[:3]) > max(y for _, y in places[3:])  # y grows downwards


def test_one_run_and_no_history_have_a_page_too() -> None:
    assert "No series has moved for good." in page.render([FLAT], [])
    assert "0 series of 0 runs; 0 steps" in page.render([], [])


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    yield from tabs()


@pytest.mark.skipif(BROWSER is None, reason="chromium is not installed")
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_a_browser_shows_it_without_complaint(
    browser: Any, text: str, tmp_path: Path, width: int, dark: bool
) -> None:
    path = tmp_path / "trend.html"
    path.write_text(text, encoding="utf-8")
    tab = Tab(browser, path, width=width, dark=dark, static=True)
    tab.picture(pictures(tmp_path) / f"trend-{width}.png")
    assert tab.overflow() <= width
    assert (tab.troubles, tab.dialogs, tab.requests) == ([], [], [tab.address])
    serious = tab.violations(axe())
    tab.close()
    assert serious == []
