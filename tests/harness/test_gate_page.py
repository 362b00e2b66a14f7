"""What a gate found as a page: verdicts, intervals, commands; and nothing from data is markup."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from report_browser import BROWSER, Tab, axe, pictures, tabs

from harness.gate import files, forest, page
from harness.gate.verdict import Change, GateReport, Span, Verdict

NEW = "<script>alert(1)</script>"
AGAIN = "ratebp-bench gate --time origin/main"


def _change(name: str, verdict: Verdict, ratio: float) -> Change:
    words = "+20.0%, 95 % +12.1% to +26.0%, 8 pairs"
    return Change(
        *(name, "ratio.step", 0.5, 0.5 * ratio, verdict, "1", ratio, words),
        reproduce=AGAIN,
    )


TIME = GateReport(
    "time",
    "head (1550abc) with base (50302c4)",
    (_change("rate", Verdict.SLOWER, 1.2), _change(NEW, Verdict.INCONCLUSIVE, 1.04)),
    ("margin 5.0%",),
    spans=(
        Span("rate", 1.2, 1.121, 1.26, 8, Verdict.SLOWER, (("rate_m", 1.25), ("rate_s", 1.15))),
        Span(NEW, 1.04, None, None, 4, Verdict.INCONCLUSIVE),
        Span("placebo", 1.009, 0.989, 1.023, 8, Verdict.EQUAL),
    ),
    margin=1.05,
)
WORSE = Change(
    *("sltt net T=4", "mem.live_peak, step", 45_678, 45_679, Verdict.WORSE, "B", 45_679 / 45_678),
    reproduce="gate --method sltt",
    accept="gate --update",
)
EXACT = GateReport(
    "exact",
    "2 cells",
    (WORSE, replace(WORSE, subject=NEW, before=NEW, after=None, verdict=Verdict.VANISHED)),
    ("Traceback:\n  <b>line</b>",),
    ("sltt,net,4,mem.live_peak,step,45679,B",),
    "gate --update",
)


def _words(text: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", text)).split())


def test_a_page_says_what_how_much_how_certain_how_to_repeat_and_accept() -> None:
    words = _words(page.render(EXACT))
    assert "regression (exit code 1)" in words
    assert "2 cells: 1 vanished, 1 worse" in words
    row = "worse sltt net T=4 mem.live_peak, step 45,678 B 45,679 B +1 B (+0.0022 %) exact"
    assert row in words
    assert "Reproduce gate --method sltt" in words
    assert "Accept, if this is intended Run this, and commit what it writes. gate --update" in words
    assert "Lines of the baseline (1) sltt,net,4,mem.live_peak,step,45679,B" in words
    assert "Accept" not in _words(page.render(replace(EXACT, accepted=True)))


def test_a_page_has_no_script_and_asks_for_nothing() -> None:
    for report in (TIME, EXACT):
        text = page.render(report)
        assert "<script" not in text
        assert "default-src 'none'" in text
        assert not re.search(r"(src|href)=", text)
        assert "<b>line" not in text


def test_the_plot_places_intervals_shifts_and_the_margin_on_one_axis() -> None:
    drawn = forest.svg(TIME)
    band = re.search(r'class="band" x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', drawn)
    marks = [float(x) for x in re.findall(r'class="mark" transform="translate\(([\d.]+)', drawn)]
    bars = re.findall(r'<path d="M([\d.]+) \d+H([\d.]+)"', drawn)
    assert band
    left, right = float(band[1]), float(band[1]) + float(band[2])
    (low, high), (least, most), (under, over) = [(float(a), float(b)) for a, b in bars]
    assert right < low < marks[0] < high  # SLOWER: the whole interval beyond the margin
    assert left < under < marks[2] < over < right
    assert least < left < right < most  # no bound: from edge to edge
    assert (least + most) / 2 == pytest.approx((left + right) / 2, abs=0.2)
    assert drawn.count('class="cell"') == 2
    assert "rate_m +25.0% (no claim)" in drawn


def test_the_plot_is_told_in_a_sentence() -> None:
    text = forest.sentence(TIME)
    assert "rate +20.0% [+12.1% to +26.0%], SLOWER" in text
    assert "[unbounded to unbounded], INCONCLUSIVE" in text
    assert text.endswith("beyond +5.0%.")
    assert forest.svg(EXACT) == ""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    yield from tabs()


@pytest.mark.skipif(BROWSER is None, reason="chromium is not installed")
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
@pytest.mark.parametrize("report", [TIME, EXACT], ids=["time", "exact"])
def test_a_browser_shows_it_without_complaint(
    browser: Any, tmp_path: Path, report: GateReport, width: int, dark: bool
) -> None:
    path = tmp_path / "gate.html"
    files.write(report, files.Files(html=path))
    tab = Tab(browser, path, width=width, dark=dark, static=True)
    tab.picture(pictures(tmp_path) / f"gate-{report.tier}-{width}.png")
    assert tab.overflow() <= width
    assert NEW in tab.text("tbody")
    assert (tab.troubles, tab.dialogs, tab.requests) == ([], [], [tab.address])
    serious = tab.violations(axe())
    tab.close()
    assert serious == []
