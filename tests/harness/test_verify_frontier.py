"""The script that tries the frontier on a GPU, with the GPU's part played."""

from __future__ import annotations

import csv
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import verify_frontier
from harness.outcome import Outcome
from harness.planning.allowance import Allowance
from harness.planning.cards import Card
from harness.planning.client import Planner
from harness.rows import Row
from harness.spec import Cell
from harness.sweep import catalogue

FAKE = [sys.executable, str(Path(__file__).with_name("fake_planner.py"))]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, offered: catalogue.Catalogue) -> Any:
    """Stand in for the machine; returns the place, whose `no_cuda` a test may set."""
    place = SimpleNamespace(no_cuda=None)
    monkeypatch.setattr(verify_frontier.catalogue, "load", lambda: offered)
    monkeypatch.setattr(verify_frontier, "here", lambda _: place)
    monkeypatch.setattr(verify_frontier, "_card", lambda: Card("x", "made up", 1000, 1000, ""))
    monkeypatch.setattr(verify_frontier, "CASES", (("tiny", "digits", 4),))
    monkeypatch.setattr(verify_frontier, "Planner", partial(Planner, 1, command=FAKE))
    allowed = Allowance(100, 0.0, 0, "nothing")
    monkeypatch.setattr(verify_frontier.allowance, "load", lambda: allowed)
    return place


def _play(limit: int) -> Any:
    """A GPU that takes batches up to a limit."""

    def run(cell: Cell, place: object, results: Path) -> Outcome:
        rows = (Row("nvml.process_peak", "step", "B", "banded", (123.0,)),)
        status = "ok" if cell.batch <= limit else "oom_cuda"
        return Outcome(status, rows=rows if status == "ok" else (), seconds=1.0)

    return run


@pytest.mark.parametrize(("limit", "code"), [(38, 0), (30, 1), (50, 1)])
def test_both_claims_are_tried_and_told(
    stage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, code: int
) -> None:
    # The fake counts 100 + 22 B: 36 fit beside the allowance, 40 without it, and 41 cannot.
    monkeypatch.setattr(verify_frontier, "_run", _play(limit))
    out = tmp_path / "f.csv"
    assert verify_frontier.main(["--out", str(out), "--method", "fine"]) == code
    with out.open(newline="") as file:
        fits, above = csv.DictReader(file)
    assert (fits["claim"], fits["batch"], fits["exact_bytes"]) == ("fits", "36", "892")
    assert (above["claim"], above["batch"], above["exact_bytes"]) == ("above", "41", "1002")
    assert fits["as_predicted"] == str(limit >= 36)
    assert above["as_predicted"] == str(limit < 41)
    assert fits["process_peak"] == ("123" if limit >= 36 else "")


def test_without_cuda_it_says_so_and_ends_with_2(
    stage: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.no_cuda = "no GPU is visible"
    assert verify_frontier.main([]) == 2
    assert "nothing to verify here: no GPU is visible" in capsys.readouterr().err
