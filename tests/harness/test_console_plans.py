"""Progress and tables of `plan` and `frontier`."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pytest
from rich.console import Console, RenderableType

from harness.console import plans
from harness.outcome import Outcome
from harness.planning.allowance import DEFAULT
from harness.planning.cards import CARDS
from harness.planning.commands import Frontiers
from harness.planning.frontier import Limit, Line
from harness.planning.plan import Planned
from harness.planning.search import Reach
from harness.rows import Row
from harness.spec import Cell, Choice

CELL = Cell(Choice.make("fine"), Choice.make("tiny"), "synthetic-1x8x8-10", 4, 32)
FIGURES = {
    ("mem.live_peak", "step"): 3 * 2**20,
    ("mem.live_after_forward", "forward"): 2**20,
    ("mem.persistent", "step"): 2**19,
    ("mem.trace", "forward"): 2**18,
    ("ops.flops", "step"): 12_345_000_000,
    ("ops.elem_bytes", "step"): 1_234_000_000_000,
    ("ops.count", "step"): 4321,
}
GOOD = Outcome("ok", rows=tuple(Row(*name, "1", "exact", (v,)) for name, v in FIGURES.items()))
BAD = Outcome("skipped", "cannot cross the norm")


def _text(parts: Sequence[RenderableType], width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width)
    for part in parts:
        console.print(part)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_plan_has_figures_or_a_reason_and_a_table_a_data_set() -> None:
    other = Planned(CELL, "cifar10", GOOD)
    shown = _text(plans.plan([Planned(CELL, "digits", GOOD), Planned(CELL, "digits", BAD), other]))
    line = next(line for line in shown.splitlines() if "fine" in line)
    assert " ".join(line.split()) == "fine tiny 4 32 3 1 0.5 3.5 0.25 12.3 1234 4321"
    assert shown.index("digits, float32") < shown.index("cifar10, float32")
    assert "skipped [1]" in shown
    assert "[1] skipped: cannot cross the norm" in shown
    assert max(map(len, shown.splitlines())) <= 100


def test_a_frontier_says_how_each_answer_is_known() -> None:
    reaches = [
        Reach(0, above=9),
        Reach(7, at=8, above=9),
        Reach(85, "law", at=8, above=9, notes=("affine from 3 to 32",)),
        Reach(32, "stopped", beyond=True, notes=("no affine law up to 32",)),
        Reach(1024, "law", beyond=True),
        None,
    ]
    line = Line(CELL, "T")
    limits = tuple(
        Limit(line, card, 10, "ok" if reach else "skipped", None if reach else "too wide", reach)
        for card, reach in zip(CARDS, reaches, strict=True)
    )
    found = Frontiers(limits, {CELL.data: "digits"}, CARDS, DEFAULT)
    shown = _text(plans.frontier(found))
    row = next(line for line in shown.splitlines() if "fine" in line)
    assert row.split()[-6:] == ["0", "7", "~85", ">32", ">~1024", "skipped"]
    assert "fine tiny, T at batch 32: no affine law up to 32" in shown
    assert "fine tiny, T at batch 32: skipped: too wide" in shown
    assert "not calibrated: no GPU run published" in shown.replace("\n", " ")


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_of_a_plan_names_failures_and_gives_an_estimate(terminal: bool) -> None:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100)
    cells = [Cell(CELL.method, CELL.model, CELL.data, T, 2) for T in range(1, 41)]
    with plans.PlanProgress(console) as listener:
        listener.planned(cells, 2)
        for cell in cells:
            died = Outcome("crash", "killed by SIGSEGV:\nlast words")
            listener.finished(cell, died if cell.T == 7 else GOOD)
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "40 cells to count on 2 cores" in shown
    assert "crash: fine tiny T=7 B=2: killed by SIGSEGV" in shown
    if not terminal:
        assert "left" in shown
        assert len(shown.splitlines()) <= 2 + 20
        assert "\x1b" not in shown


def test_progress_of_a_search_has_a_line_for_each() -> None:
    console = Console(file=io.StringIO(), width=100)
    line = Line(CELL, "batch")
    with plans.SearchProgress(console) as listener:
        listener.planned([line, line], 1)
        listener.finished([Limit(line, CARDS[0], 1, "ok", None, Reach(1))])
        listener.finished([Limit(line, CARDS[0], 1, "ok", None, Reach(1))])
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert lines[0] == "2 lines to search on 1 core"
    assert lines[1].startswith("[1/2] fine tiny batch ")
    assert lines[2] == "[2/2] fine tiny batch"
