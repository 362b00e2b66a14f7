"""A report of many methods, and one of two runs, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from report_browser import BROWSER, Tab, axe, pictures, tabs
from report_sample import MANY, METHODS, write

from harness import report

pytestmark = [
    pytest.mark.deep,
    pytest.mark.skipif(BROWSER is None, reason="chromium is not installed"),
]
NEW = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    yield from tabs()


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crowd")
    write(folder, repeats=1, methods=MANY)
    return report.write(folder).path


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("both")
    for name in ("a", "b"):
        write(folder / name, repeats=1, extra=NEW)
    return report.compare(folder / "a", folder / "b").path


def test_many_methods_are_listed_under_a_figure_as_their_lines_end(
    browser: Any, crowd: Path
) -> None:
    tab = Tab(browser, crowd)
    tab.draw_all()
    names = tab.ask(
        "[...document.querySelectorAll('#memory .legend li')].map((i) => i.textContent)"
    )
    data = "document.querySelector('#memory .plot').data"
    lines = f"{data}.filter((trace) => trace.mode === 'lines+markers')"
    ends = dict(tab.ask(f"{lines}.map((line) => [line.meta, line.y.at(-1)])"))
    assert sorted(names) == sorted(ends)
    assert [ends[name] for name in names] == sorted(ends.values(), reverse=True)
    assert tab.count("#memory .legend .glyph") == len(names) == len(MANY)
    assert tab.count("#memory .plot .legendtext") == 0
    tab.close()


def test_what_is_pointed_at_or_has_the_focus_stands_out(browser: Any, crowd: Path) -> None:
    tab = Tab(browser, crowd)
    tab.draw_all()
    tab.point_at('#methods label[data-method="rate_s"]')
    found = tab.opacity("memory")
    assert found.pop("rate_s") == ""
    assert set(found.values()) == {"0.12"}
    tab.point_at("h1")
    assert set(tab.opacity("memory").values()) == {""}
    tab.press('#methods [value="sltt"]', "Tab")  # the next box has the focus now
    assert list(tab.opacity("memory").values()).count("0.12") == len(MANY) - 1
    tab.close()


@pytest.mark.parametrize(("width", "dark"), [(1440, False), (390, True)])
def test_many_methods_are_legible_at_any_width(
    browser: Any, crowd: Path, tmp_path: Path, width: int, dark: bool
) -> None:
    tab = Tab(browser, crowd, width=width, dark=dark)
    tab.draw_all()
    tab.picture(pictures(tmp_path) / f"crowd-{width}.png")
    assert tab.overflow() <= width
    assert tab.violations(axe()) == []
    assert tab.troubles == []
    tab.close()


def test_a_select_offers_and_says_what_there_is(browser: Any, tmp_path: Path) -> None:
    write(tmp_path, repeats=1, untimed=(8, 16))
    tab = Tab(browser, report.write(tmp_path).path)
    assert tab.value("#phases-T") == "4"
    offered = "[...document.querySelector('#phases-T').options].filter((o) => !o.disabled)"
    assert tab.ask(f"{offered}.map((option) => option.value)") == ["4", "2", "1"]
    tab.select("#phases-what", "memory")
    tab.select("#phases-T", "16")
    assert "At T = 16" in tab.label("phases")
    tab.close()


def test_two_runs_stand_side_by_side_and_every_figure_is_drawn(
    browser: Any, both: Path, tmp_path: Path
) -> None:
    tab = Tab(browser, both)
    tab.draw_all()
    assert tab.panels() == ["change"]
    assert tab.drawn("change") == {*METHODS, NEW}
    assert NEW in tab.text("#verdict tbody")
    assert "no change" in tab.text("#verdict tbody")
    tab.select("#change-quantity", "step")
    assert tab.label("change").startswith("Whole step")
    tab.picture(pictures(tmp_path) / "compare-1440.png")
    assert tab.violations(axe()) == []
    assert (tab.troubles, tab.dialogs, tab.requests) == ([], [], [tab.address])
    tab.close()


def test_the_name_of_a_column_stays_in_sight_on_a_small_screen(browser: Any, both: Path) -> None:
    tab = Tab(browser, both, width=390)
    place = """() => { const box = document.querySelector('#verdict .scroll');
        box.scrollLeft = 300;
        const names = box.querySelector('tbody th').getBoundingClientRect();
        return [box.scrollLeft, names.left - box.getBoundingClientRect().left]; }"""
    scrolled, left = tab.ask(place)
    assert scrolled == 300
    assert left == 0
    tab.close()
