"""The report in a real browser: drawn, every control does what it says, by keyboard alone."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from report_browser import BROWSER, Tab, axe, pictures, tabs
from report_sample import METHODS, write

from harness import report

NEW = "<script>alert(1)</script>"
needs_browser = pytest.mark.skipif(BROWSER is None, reason="chromium is not installed")
COSTS = ("memory", "time", "phases", "growth", "energy", "work")
EVERY = (*COSTS, "accuracy", "fidelity", "assumptions", "firing", "predictions", "drift")


pytestmark = pytest.mark.deep


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    write(folder, repeats=2, extra=NEW, batches=(32, 64))
    return report.write(folder).path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    yield from tabs()


@pytest.fixture
def tab(browser: Any, page: Path) -> Iterator[Tab]:
    opened = Tab(browser, page)
    yield opened
    opened.close()


@needs_browser
def test_every_figure_is_drawn_without_an_error_or_a_request(tab: Tab) -> None:
    tab.draw_all()
    assert tab.count(".plot .main-svg") >= len(EVERY)
    assert tab.panels() == list(EVERY)
    assert tab.troubles == []
    assert tab.requests == [tab.address]


@needs_browser
def test_a_name_that_looks_like_markup_is_text(tab: Tab) -> None:
    tab.draw_all()
    assert tab.dialogs == []
    assert NEW in tab.text("#methods")
    assert NEW in tab.text("#memory .legend")


@needs_browser
def test_every_control_is_reached_and_used_by_keyboard(tab: Tab) -> None:
    reached = tab.walk()
    assert tab.controls() <= reached
    tab.press("#memory [value=ratio]", "Enter")
    assert tab.pressed("#memory", "view") == "ratio"
    assert "× bptt_m" in tab.label("memory")
    tab.press("#memory [value=linear]", "Space")
    assert tab.axis("memory") == "linear"
    tab.press("#time-quantity", "ArrowDown")
    assert "reference" in tab.label("time")
    tab.press("#memory summary", "Enter")
    assert tab.count("#memory details[open] table") == 1


@needs_browser
def test_a_method_that_is_switched_off_leaves_every_figure(tab: Tab) -> None:
    tab.draw_all()
    assert [panel for panel in EVERY if "rate_s" not in tab.drawn(panel)] == []
    tab.press('#methods [value="rate_s"]', "Space")
    tab.draw_all()
    assert [panel for panel in EVERY if "rate_s" in tab.drawn(panel)] == []
    assert [panel for panel in EVERY if "rate_m" not in tab.drawn(panel)] == []


@needs_browser
def test_another_batch_is_another_set_of_figures(tab: Tab) -> None:
    assert "batch 32" in tab.hidden_text(".setting")
    tab.select("#place-batch", "64")
    assert "batch 64" in tab.hidden_text(".setting")
    tab.draw_all()
    assert tab.count(".plot .main-svg") >= len(EVERY)
    assert tab.troubles == []


@needs_browser
def test_the_address_restores_the_view(tab: Tab, browser: Any) -> None:
    tab.select("#place-batch", "64")
    tab.press("#memory [value=law]", "Enter")
    tab.select("#phases-what", "traffic")
    tab.press('#methods [value="sltt"]', "Space")
    again = Tab(browser, tab.page_path, tab.hash())
    again.draw_all()
    assert "batch 64" in again.hidden_text(".setting")
    assert again.pressed("#memory", "curve") == "law"
    assert again.value("#phases-what") == "traffic"
    assert "sltt" not in again.drawn("time")
    assert again.hash() == tab.hash()
    again.close()


@needs_browser
def test_tables_sort_and_the_download_is_the_table(tab: Tab) -> None:
    tab.press("#time summary", "Enter")
    tab.press("#time thead th:nth-child(2) button", "Enter")
    shown = tab.column("time", 2)
    assert shown == sorted(shown)
    tab.press('#methods [value="ottt_a"]', "Space")
    name, text = tab.download("#time .download")
    assert name == "time-step-absolute.csv"
    rows = list(csv.DictReader(io.StringIO(text)))
    assert {row["method"] for row in rows} == {*METHODS, NEW} - {"ottt_a"}
    for row in rows:
        assert float(row["T=1 low"]) <= float(row["T=1"]) <= float(row["T=1 high"])
    assert [float(row["T=1"]) for row in rows] == sorted(float(row["T=1"]) for row in rows)


@needs_browser
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_nothing_serious_stands_between_a_reader_and_the_page(
    browser: Any, page: Path, width: int, dark: bool, tmp_path: Path
) -> None:
    tab = Tab(browser, page, width=width, dark=dark)
    tab.draw_all()
    tab.press("#memory summary", "Enter")
    picture = pictures(tmp_path) / f"report-{width}-{'dark' if dark else 'light'}.png"
    tab.picture(picture)
    assert picture.stat().st_size > 50_000
    assert tab.overflow() <= width
    serious = tab.violations(axe())
    tab.close()
    assert serious == []
