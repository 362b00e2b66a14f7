"""Processes run the code that their parent has looked at, wherever they are started."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.machine import start
from harness.planning.client import PLANNER, Planner
from harness.run.executors.local import WORKER, LocalExecutor
from harness.spec import Cell, Choice, TrialSpec
from harness.sweep import catalogue

CELL = Cell(
    Choice("sltt"), Choice.make("tiny_resnet", {"width": 0.125}), "digits", 2, 4, operators="torch"
)


@pytest.fixture
def shadow(tmp_path: Path) -> Path:
    """A folder whose modules are called like others that a trial needs."""
    for name in ("random.py", "torch.py", "harness/__init__.py", "ratebp/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"raise RuntimeError('the shadow of {name}')\n")
    return tmp_path


def test_every_command_keeps_the_current_folder_off_the_path() -> None:
    for command in (WORKER, PLANNER, catalogue.COMMAND):
        assert command[1] == "-P"
        assert Path(command[2]) == start.ROOT / "harness" / "machine" / "start.py"


@pytest.mark.deep
def test_nothing_in_the_current_folder_is_run(
    shadow: Path, monkeypatch: pytest.MonkeyPatch, make_spec: Callable[..., TrialSpec]
) -> None:
    monkeypatch.chdir(shadow)
    assert "sltt" in catalogue.load().methods
    spec = TrialSpec("id", "s", CELL, "memory", 0, 0, 60.0, "e", "c", 2)
    outcome = LocalExecutor().run(spec, shadow / "trial")
    assert outcome.status == "ok", outcome.error
    with Planner(1) as planner:
        ((_, prediction),) = planner.predict([CELL])
    assert prediction.status == "ok", prediction.error
    assert prediction.rows == tuple(row for row in outcome.rows if row.kind == "exact")


def test_another_copy_on_the_path_is_not_run(shadow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (shadow / "random.py").unlink()
    (shadow / "torch.py").unlink()
    monkeypatch.setenv("PYTHONPATH", str(shadow))
    assert "sltt" in catalogue.load().methods


def test_a_module_gets_its_arguments(tmp_path: Path) -> None:
    done = subprocess.run(
        [*start.command("json.tool"), "--compact"],
        input=json.dumps({"a": 1}),
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert done.stdout.strip() == '{"a":1}'
