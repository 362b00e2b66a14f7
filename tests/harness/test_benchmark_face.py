"""pytest-benchmark's entry: exact figures in `extra_info`, saved runs that can be compared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.spec import Cell, Choice
from harness.trial.bench import usual, virtual
from harness.trial.exact import tier

ROOT = Path(__file__).parents[2]
FACE = ("benchmarks/face", "-k", "sltt and not sltt_k", "--benchmark-enable")


def run(storage: Path, *options: str) -> str:
    command = [sys.executable, "-m", "pytest", *FACE, f"--benchmark-storage={storage}", *options]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        # A worker of xdist says so here, and pytest-benchmark then measures nothing.
        env={key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")},
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    storage = tmp_path_factory.mktemp("storage")
    run(storage, "--benchmark-save=first")
    return storage


@pytest.mark.deep
def test_extra_info_holds_the_exact_figures(saved: Path) -> None:
    (path,) = saved.rglob("*_first.json")
    (entry,) = json.loads(path.read_text())["benchmarks"]
    assert entry["params"] == {"method": "sltt"}
    assert entry["stats"]["rounds"] == 5
    model = Choice.make("tiny_resnet", {"width": 0.5})
    cell = Cell(Choice("sltt"), model, "digits", 4, 32, operators=usual("cpu"))
    with virtual(cell) as bench:
        rows = tier.measure(bench).rows
    assert entry["extra_info"] == {"operators": cell.operators} | {
        f"{row.metric} {row.phase} [{row.unit}]": int(row.values[0]) for row in rows
    }


@pytest.mark.deep
def test_a_second_run_compares_with_the_first(saved: Path) -> None:
    out = run(saved, "--benchmark-compare")
    assert "0001_first" in out
    assert out.count("test_step[sltt]") >= 2
