"""The planning process: equal to a real run to the byte, and not to be stopped by a bad cell."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from probe_bench import small_heap
from torch._subclasses.fake_tensor import DataDependentOutputException

from harness.planning.client import PLANNER, Planner
from harness.spec import Cell, Choice
from harness.trial import planner
from harness.trial.bench import build
from harness.trial.exact import tier

TINY = Choice.make("tiny_resnet", {"width": 0.25})
CELLS = [
    Cell(Choice.make("bptt_m"), TINY, "digits", 3, 4),
    Cell(Choice.make("rate_s"), TINY, "digits", 2, 5, dtype="float64"),
    Cell(Choice.make("ottt_o", {"placement": "published"}), TINY, "digits", 3, 2),
]


@pytest.fixture(scope="module")
def children() -> Iterator[Planner]:
    with Planner(2) as real:
        yield real


@pytest.mark.deep_but("rate_m")
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.method.name)
def test_a_prediction_equals_a_real_run_to_the_byte(children: Planner, cell: Cell) -> None:
    told = children.submit(cell).result()
    with small_heap():
        measured = tier.measure(build(cell))
    assert (told.status, told.error) == ("ok", None)
    assert told.rows == measured.rows
    assert told.facts["dispatch_device"] == "cpu"
    assert told.facts["torch"] == torch.__version__


def test_cells_that_fail_are_answers_and_the_process_goes_on() -> None:
    cells = [
        Cell(Choice.make("nonsense"), TINY, "digits", 2, 2),
        Cell(Choice.make("saf_f"), TINY, "digits", 2, 2),
        Cell(Choice.make("sltt"), TINY, "nonsense", 2, 2),
        CELLS[0],
    ]
    lines = "".join(json.dumps(cell.to_json()) + "\n" for cell in cells)
    done = subprocess.run(PLANNER, input=lines, capture_output=True, text=True, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["status"] for answer in answers] == ["invalid", "skipped", "invalid", "ok"]
    assert "unknown method 'nonsense'" in answers[0]["error"]
    assert "saf_f cannot cross" in answers[1]["error"]
    assert all(answer["seconds"] >= 0 for answer in answers)


def test_a_cell_needs_neither_memory_nor_data_files(
    children: Planner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RATEBP_DATA", raising=False)
    huge = Cell(Choice.make("bptt_m"), Choice.make("resnet18"), "cifar10", 2, 50_000)
    told = children.submit(huge).result()
    assert told.status == "ok"
    assert told.demand > 2**38


def test_what_is_printed_does_not_disturb_the_answers() -> None:
    code = (
        "import sys, harness.trial.planner as planner\n"
        "planner.predict = lambda cell: print('a plug-in prints') or {'T': cell.T}\n"
        "sys.exit(planner.main())"
    )
    line = json.dumps(CELLS[0].to_json())
    done = subprocess.run(
        [sys.executable, "-c", code], input=line, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == {"T": 3}
    assert "a plug-in prints" in done.stderr


def test_a_step_that_looks_at_values_is_skipped_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def looks(_: Any) -> tier.Exact:
        raise DataDependentOutputException(torch.ops.aten._local_scalar_dense.default)

    monkeypatch.setattr(tier, "measure", looks)
    answer = planner.predict(CELLS[0])
    assert answer["status"] == "skipped"
    assert "depends on the values of a tensor" in answer["error"]
