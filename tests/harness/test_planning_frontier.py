"""The largest T and batch for a card against brute force, with fake counts and real ones."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import CATALOGUE

from harness.errors import SweepError
from harness.planning import commands
from harness.planning.allowance import Allowance
from harness.planning.cards import Card
from harness.planning.client import Planner
from harness.planning.frontier import Frontier, Limit, Line, lines
from harness.spec import Cell, Choice

FAKE = [sys.executable, str(Path(__file__).with_name("fake_planner.py"))]
NOTHING = Allowance(0, 0.0, 0, "nothing")
CELL = Cell(Choice.make("fine"), Choice.make("tiny"), "digits", 4, 8)


class Heard:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.done: list[Line] = []

    def planned(self, lines: Sequence[Line], jobs: int) -> None:
        self.lines = list(lines)

    def finished(self, limits: Sequence[Limit]) -> None:
        self.done.append(limits[0].line)


def _card(usable: int) -> Card:
    return Card(f"{usable} B", "none", usable, usable, "made up")


def test_lines_go_through_each_cell_once_in_both_directions() -> None:
    found = lines([CELL, replace(CELL, T=2), replace(CELL, batch=16)])
    points = {(line.axis, line.cell.T, line.cell.batch) for line in found}
    assert points == {("T", 0, 8), ("T", 0, 16), ("batch", 4, 0), ("batch", 2, 0)}
    assert len(found) == 4


def test_both_axes_on_several_cards_against_the_formula_of_the_fake() -> None:
    cards = [_card(usable) for usable in (90, 500, 5_000)]
    with Planner(2, command=FAKE) as planner:
        search = Frontier(planner, NOTHING, counted_to=16, caps={"T": 1024, "batch": 200})
        found = {each[0].line.axis: each for each in search.search(lines([CELL]), cards)}
    for limit in found["T"]:
        assert limit.reach is not None
        assert limit.reach.value == max(0, ((limit.card.usable - 100) // 8 - 10) // 3)
    for limit in found["batch"]:
        assert limit.reach is not None
        assert limit.reach.value == min(200, max(0, (limit.card.usable - 100) // 22))
    assert [limit.reach.basis for limit in found["T"] if limit.reach] == ["counted"] * 2 + ["law"]
    assert [limit.reach.beyond for limit in found["batch"] if limit.reach] == [False, False, True]


@pytest.mark.deep
def test_a_real_network_on_a_small_card_against_brute_force() -> None:
    tiny = Choice.make("tiny_resnet", {"width": 0.25})
    base = Cell(Choice.make("bptt_m"), tiny, "digits", 2, 3)
    with Planner(2) as planner:
        counts = dict(planner.predict([replace(base, batch=batch) for batch in range(1, 10)]))
        counts |= dict(planner.predict([replace(base, T=T) for T in range(1, 7)]))
        demand = {(cell.T, cell.batch): told.demand for cell, told in counts.items()}
        card = _card(demand[2, 5] + 1)
        search = Frontier(planner, NOTHING, counted_to=6, caps={"T": 64, "batch": 64})
        found = {each[0].line.axis: each[0].reach for each in search.search(lines([base]), [card])}
    batch = max(b for (T, b), count in demand.items() if T == 2 and count <= card.usable)
    steps = max(T for (T, b), count in demand.items() if b == 3 and count <= card.usable)
    assert 1 < batch < 9
    assert 1 < steps < 6
    assert found["batch"] is not None
    assert found["T"] is not None
    assert (found["batch"].value, found["batch"].basis) == (batch, "counted")
    assert (found["T"].value, found["T"].basis) == (steps, "counted")
    assert found["batch"].above == demand[2, batch + 1]


def test_a_method_that_refuses_is_told_for_every_card() -> None:
    refuses = replace(CELL, method=Choice.make("refuses"))
    with Planner(1, command=FAKE) as planner:
        search = Frontier(planner, NOTHING)
        (found,) = search.search(lines([refuses])[:1], [_card(500), _card(900)])
    assert [(limit.status, limit.error) for limit in found] == [
        ("skipped", "cannot cross the norm")
    ] * 2
    assert [limit.reach for limit in found] == [None, None]


def test_options_make_a_frontier_and_its_files(tmp_path: Path) -> None:
    axes = {"method": ["fine", "wide"], "model": ["tiny"], "data": ["cifar10"], "batch": [8, 16]}
    request = commands.FrontierRequest(None, axes, cards=["8", "141"])
    heard = Heard()
    with Planner(2, command=FAKE) as planner:
        found = commands.frontier(request, planner, heard, command=CATALOGUE)
    assert len(heard.lines) == 2 * 3
    assert set(heard.done) == set(heard.lines)
    assert [limit.line for limit in found.limits[::2]] == heard.lines
    assert [limit.card.name for limit in found.limits[:2]] == ["8 GB", "141 GB"]
    commands.write(found, tmp_path / "f.json")
    commands.write(found, tmp_path / "f.csv")
    document = json.loads((tmp_path / "f.json").read_text())
    assert document["allowance"]["basis"].startswith("not calibrated")
    with (tmp_path / "f.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == len(document["limits"]) == 12
    first = document["limits"][0]
    assert (first["axis"], first["T"], first["batch"], first["data"]) == ("T", None, 8, "cifar10")
    assert (first["value"], first["beyond"], first["basis"]) == (1024, True, "law")
    with pytest.raises(SweepError, match=r"legal: \.csv, \.json"):
        commands.write(found, tmp_path / "f.txt")


@pytest.mark.parametrize(
    ("request_", "complaint"),
    [
        (commands.FrontierRequest("x", {"method": ["fine"]}), "drop --method"),
        (commands.FrontierRequest(cards=["12"]), r"unknown card \(its size in GB\) '12'"),
        (commands.FrontierRequest(axes={"method": ["fin"]}), "did you mean 'fine'"),
    ],
)
def test_what_cannot_be_searched_is_refused(
    request_: commands.FrontierRequest, complaint: str
) -> None:
    with Planner(1, command=FAKE) as planner, pytest.raises(SweepError, match=complaint):
        commands.frontier(request_, planner, Heard(), command=CATALOGUE)
