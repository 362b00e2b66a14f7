"""What has changed between two counts, and which lines the baseline would gain."""

from __future__ import annotations

import pytest

from harness.gate.baseline import STATUS, CellName, Figures, RecordedFigure
from harness.gate.comparison import compare
from harness.gate.verdict import Change, Verdict
from harness.outcome import Outcome
from harness.rows import Row

PLACE = CellName("fine", "tiny", "synthetic-1x8x8-10", 4, 2, "float32")
PEAK, COUNT = ("mem.live_peak", "step"), ("ops.count", "step")
GOOD: Figures = {PEAK: RecordedFigure(100, "B"), COUNT: RecordedFigure(7, "1")}
REFUSAL: Figures = {STATUS: RecordedFigure("skipped")}


def _compare(before: Figures | None, told: Outcome | None) -> tuple[list[Change], list[str]]:
    return compare(
        {} if before is None else {PLACE: before},
        {} if told is None else {PLACE: told},
        lambda place: (f"count {place.name}", f"record {place.name}"),
    )


def _status(status: str) -> Outcome:
    return Outcome(status, "why")


def _told(figures: Figures) -> Outcome:
    rows = (Row(*key, each.unit, "exact", (int(each.value),)) for key, each in figures.items())
    return Outcome("ok", rows=tuple(rows))


def test_equal_figures_and_an_equal_refusal_are_no_change() -> None:
    assert _compare(GOOD, _told(dict(GOOD))) == ([], [])
    assert _compare(REFUSAL, _status("skipped")) == ([], [])


def test_more_is_worse_and_less_is_better_each_with_its_line() -> None:
    changes, rows = _compare(
        GOOD, _told({PEAK: RecordedFigure(101, "B"), COUNT: RecordedFigure(6, "1")})
    )
    assert changes == [
        Change(
            "fine tiny synthetic-1x8x8-10 T=4 B=2 float32",
            "mem.live_peak, step",
            100,
            101,
            Verdict.WORSE,
            "B",
            1.01,
            "exact",
            "count fine",
            "record fine",
        ),
        Change(
            "fine tiny synthetic-1x8x8-10 T=4 B=2 float32",
            "ops.count, step",
            7,
            6,
            Verdict.BETTER,
            "1",
            6 / 7,
            "exact",
            "count fine",
            "record fine",
        ),
    ]
    head = "fine,tiny,synthetic-1x8x8-10,4,2,float32"
    assert rows == [f"{head},mem.live_peak,step,101,B", f"{head},ops.count,step,6,1"]


def test_from_zero_or_below_there_is_no_ratio() -> None:
    (change,), _ = _compare(
        GOOD | {PEAK: RecordedFigure(-4, "B")}, _told(GOOD | {PEAK: RecordedFigure(0, "B")})
    )
    assert (change.verdict, change.ratio) == (Verdict.WORSE, None)


def test_single_figures_come_and_go() -> None:
    changes, rows = _compare({PEAK: GOOD[PEAK]}, _told({COUNT: GOOD[COUNT]}))
    assert [(each.quantity, each.verdict) for each in changes] == [
        ("mem.live_peak, step", Verdict.VANISHED),
        ("ops.count, step", Verdict.NEW),
    ]
    assert len(rows) == 1


@pytest.mark.parametrize(
    ("before", "told", "verdict", "rows"),
    [
        (None, _told(GOOD), Verdict.NEW, 2),
        (None, _status("skipped"), Verdict.NEW, 1),
        (GOOD, None, Verdict.VANISHED, 0),
        (REFUSAL, None, Verdict.VANISHED, 0),
        (GOOD, _status("skipped"), Verdict.REFUSED, 1),
        (REFUSAL, _told(GOOD), Verdict.BETTER, 2),
        *((GOOD, _status(bad), Verdict.FAILED, 0) for bad in ("crash", "invalid", "oom_host")),
        (None, _status("oom_cuda"), Verdict.FAILED, 0),
        (REFUSAL, _status("crash"), Verdict.FAILED, 0),
        (GOOD, _status("timeout"), Verdict.UNANSWERED, 0),
    ],
)
def test_cells_come_go_refuse_and_fail(
    before: Figures | None, told: Outcome | None, verdict: Verdict, rows: int
) -> None:
    (change,), lines = _compare(before, told)
    assert (change.quantity, change.verdict, len(lines)) == ("cell", verdict, rows)
    assert change.reproduce == "count fine"
    assert bool(change.accept) == (verdict not in (Verdict.FAILED, Verdict.UNANSWERED))
    if told is not None and told.error:
        assert change.after == f"{told.status}: why"


def test_a_fault_is_a_fault_even_if_the_baseline_has_it() -> None:
    crashed = {STATUS: RecordedFigure("crash")}
    (change,), rows = _compare(crashed, _status("crash"))
    assert (change.verdict, rows) == (Verdict.FAILED, [])
