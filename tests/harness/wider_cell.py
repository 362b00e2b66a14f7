"""Everything that reads cells, at work in a process whose cells have one more axis.

The class of cells is replaced before anything that derives from it is imported.
"""
# ruff: noqa: E402

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from harness import spec


@dataclass(frozen=True)
class Wider(spec.Cell):
    """A cell with the weather."""

    weather: str = field(default="dry", metadata={"legal": ("dry", "wet"), "later": True})


vars(spec)["Cell"] = Wider
vars(spec)["AXES"] = spec.axes(Wider)
vars(spec)["LATER"] = {axis.name: axis.default for axis in spec.AXES if axis.later}
vars(spec)["SPLITS"] = tuple(axis.name for axis in spec.AXES if axis.splits)

import fake_catalogue

from harness.console import plans, tables
from harness.planning import plan
from harness.planning.cards import CARDS
from harness.planning.frontier import Limit, Line, record
from harness.report import estimates
from harness.results import memory_class, store
from harness.results.store import MEASUREMENT_COLUMNS, TRIAL_COLUMNS, Tables
from harness.run.trial_order import arrange
from harness.sweep import file
from harness.sweep.catalogue import Catalogue, parse
from harness.sweep.expand import Question, ask
from harness.trend import figures

DRY = Wider(spec.Choice.make("fine"), spec.Choice.make("tiny"), "digits", 2, 4)
WET = replace(DRY, weather="wet")
GRID = {"probes": "memory", "method": "fine", "model": "tiny", "data": "digits", "T": 2, "batch": 4}


def trials(*cells: Wider) -> pd.DataFrame:
    """The table of trials of some cells, named by their place."""
    common = {"schema": 2, "status": "ok", "probe": "memory", "code": {"digest": "code"}}
    common |= {"environment": "here", "measurement": 2, "memory_class": "constant", "repeat": 0}
    records: list[dict[str, Any]] = [
        common | {"trial": str(number), "cell": cell.to_json()} for number, cell in enumerate(cells)
    ]
    return pd.DataFrame([store._trial_row(each) for each in records], columns=TRIAL_COLUMNS)


def rows(metric: str, phase: str, *values: int) -> pd.DataFrame:
    """The table of measurements: one value a trial."""
    lines = [(str(n), metric, phase, 0, value, "B", "exact") for n, value in enumerate(values)]
    return pd.DataFrame(lines, columns=MEASUREMENT_COLUMNS)


def the_id_of_a_cell_at_the_default_stays() -> None:
    """What was asked before there was the axis has the same name."""
    before = {key: value for key, value in WET.to_json().items() if key != "weather"}
    assert DRY.to_json() == before
    assert Wider.from_json(WET.to_json()) == WET
    assert Wider.from_json(before) == DRY


def a_sweep_file_takes_it() -> None:
    """Its values are checked, explained and multiplied."""
    assert file.Grid(**GRID).weather == ["dry"]
    assert file.LEGAL["weather"] == "one or more of dry, wet"
    grid = file.Grid(**GRID, weather=["dry", "wet"], operators="torch", device="cpu")
    offered: Catalogue = parse(fake_catalogue.CATALOGUE)
    asked = ask(file.Sweep(name="demo", grid=[grid]), offered)
    assert [question.cell for question in asked] == [DRY, WET]


def methods_are_neighbours_within_it() -> None:
    """Only cells that are equal but for the method are one group."""
    other = replace(DRY, method=spec.Choice.make("wide"))
    asked = [Question(cell, "memory") for cell in (DRY, WET, other)]
    assert [each.cell for each, _ in arrange(asked, 1, 0)].index(WET) != 1


def tables_and_estimates_keep_it_apart() -> None:
    """No row, group or figure pools two values of it."""
    both = Tables(trials(DRY, WET), rows("mem.live_peak", "step", 1, 2))
    assert list(both.trials["weather"]) == ["dry", "wet"]
    assert tables.cells(both).row_count == 2
    groups = estimates.groups(both.trials, both.measurements)
    assert sorted(group.place["weather"] for group in groups) == ["dry", "wet"]
    assert groups[0].key != groups[1].key
    found = figures.summarise(both)
    assert [("wet" in each.cell, each.value) for each in found] == [(False, 1), (True, 2)]


def memory_classes_keep_it_apart() -> None:
    """Each value of it has a law of its own."""
    steps = (2, 4, 8, 16)
    many = trials(*(replace(cell, T=T) for cell in (DRY, WET) for T in steps))
    stored = rows(*memory_class.STORED, *(100 * T for T in steps * 2))
    wrong = memory_class.disagreements(many, stored)
    assert [("wet" in each.where) for each in wrong] == [False, True]


def plans_say_it() -> None:
    """A count of another cell is another line."""
    assert "weather" in plan.COLUMNS
    assert "weather wet" in plans._title("digits", WET)
    assert "weather" not in plans._title("digits", DRY)
    limit = Limit(Line(WET, "T"), CARDS[0], 1, "skipped", None, None)
    assert record(limit, "digits")["weather"] == "wet"


if __name__ == "__main__":
    the_id_of_a_cell_at_the_default_stays()
    a_sweep_file_takes_it()
    methods_are_neighbours_within_it()
    tables_and_estimates_keep_it_apart()
    memory_classes_keep_it_apart()
    plans_say_it()
