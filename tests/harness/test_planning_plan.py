"""Which cells a sweep has for its plan, and the plan's table as a file."""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from fakes import CATALOGUE

from harness.errors import StoreError, SweepError
from harness.outcome import Outcome
from harness.planning import plan
from harness.planning.client import Planner
from harness.spec import Cell
from harness.sweep import catalogue
from harness.sweep.catalogue import Catalogue
from harness.sweep.file import Sweep, read

FAKE = [sys.executable, str(Path(__file__).with_name("fake_planner.py"))]
PAPERS = Path(__file__).parents[2] / "benchmarks/sweeps/papers.toml"
Write = Callable[..., Path]


class Heard:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.cells: list[Cell] = []
        self.done: list[Cell] = []

    def planned(self, cells: Sequence[Cell], jobs: int) -> None:
        self.cells = list(cells)

    def finished(self, cell: Cell, prediction: Outcome) -> None:
        self.done.append(cell)


def _sweep(**axes: Any) -> Sweep:
    grid = {"probes": "memory", "method": "fine", "model": "tiny", "data": "digits"}
    return Sweep.model_validate({"name": "s", "grid": [grid | {"T": 1, "batch": 2} | axes]})


def test_probes_devices_seeds_and_budgets_make_no_cells_of_their_own(offered: Catalogue) -> None:
    sweep = _sweep(
        probes=["time", "memory", "accuracy"],
        device=["cpu", "cuda"],
        seed=[0, 1, 2],
        training={"epochs": 3},
        T=[1, 2],
    )
    cells = plan.cells(sweep, offered)
    assert [(cell.T, cell.device, cell.seed, cell.training) for cell in cells] == [
        (1, "cpu", 0, None),
        (2, "cpu", 0, None),
    ]


def test_data_sets_of_one_shape_share_a_cell_and_need_no_files(
    offered: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RATEBP_DATA", raising=False)
    names = ["cifar10", "fashion-mini-color", "cifar100", "synthetic-3x32x32-10"]
    cells = plan.cells(_sweep(data=names), offered)
    assert list(cells.values()) == [
        "cifar10, fashion-mini-color, synthetic-3x32x32-10",
        "cifar100",
    ]


def test_wrong_names_are_faults_of_the_sweep(offered: Catalogue) -> None:
    with pytest.raises(SweepError) as told:
        plan.cells(_sweep(data=["cifar11", "digits"], method="fines"), offered, "my.toml")
    assert "unknown data set 'cifar11' (did you mean 'cifar10'?)" in str(told.value)
    assert "unknown method 'fines' (did you mean 'fine'?)" in str(told.value)
    assert str(told.value).startswith("my.toml")


def test_a_plan_is_in_the_order_of_the_sweep_whatever_ends_first(write_sweep: Write) -> None:
    heard = Heard()
    path = write_sweep(method=["fine", "segfaults", "wide"], T=[1, 8])
    with Planner(2, command=FAKE) as planner:
        planned = plan.plan(str(path), planner, heard, command=CATALOGUE)
    assert [each.cell for each in planned] == heard.cells
    assert sorted(heard.done, key=heard.cells.index) == heard.cells
    statuses = Counter((each.cell.method.name, each.prediction.status) for each in planned)
    assert statuses == {("fine", "ok"): 2, ("segfaults", "crash"): 2, ("wide", "ok"): 2}
    assert plan.exit_code(planned) == 1
    assert plan.exit_code([each for each in planned if each.prediction.status == "ok"]) == 0


def test_the_file_has_a_line_a_figure_and_a_line_for_what_has_none(
    write_sweep: Write, tmp_path: Path
) -> None:
    path = write_sweep(method=["fine", "segfaults"], T=1)
    with Planner(1, command=FAKE) as planner:
        planned = plan.plan(str(path), planner, Heard(), command=CATALOGUE)
    plan.write_csv(planned, tmp_path / "plan.csv")
    with (tmp_path / "plan.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert tuple(lines[0]) == plan.COLUMNS
    live = next(line for line in lines if line["metric"] == "mem.live_peak")
    assert (live["method"], live["data"], live["T"], live["value"]) == ("fine", "digits", "1", "52")
    (bad,) = [line for line in lines if line["status"] != "ok"]
    assert bad["method"] == "segfaults"
    assert "SIGSEGV" in bad["error"]
    (tmp_path / "file").touch()
    with pytest.raises(StoreError):
        plan.write_csv(planned, tmp_path / "file" / "plan.csv")


def test_the_sweep_of_the_papers_has_200_cells() -> None:
    cells = plan.cells(read(PAPERS), catalogue.load(), PAPERS.name)
    assert len(cells) == 200
    assert max(cell.T for cell in cells) == 64
    assert max(cell.batch for cell in cells) == 256
    assert {cell.data.name for cell in cells} == {
        "synthetic-3x32x32-10",
        "synthetic-3x224x224-1000",
    }
