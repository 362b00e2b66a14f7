"""Fixtures of the parent side: sweeps written to disk and run with a fake worker."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# Helper modules of this folder; pytest's import mode "importlib" leaves sys.path alone.
sys.path.append(str(Path(__file__).parent))

import fake_catalogue
from fakes import CATALOGUE, WORKER, Recorder

from harness.run.executors.local import LocalExecutor
from harness.run.runner import RunRequest, Summary, run
from harness.spec import Cell, Choice, TrialSpec
from harness.sweep.catalogue import Catalogue, parse

GRID: dict[str, Any] = {
    "probes": ["time", "memory"],
    "method": ["fine", "wide"],
    "model": "tiny",
    "data": "digits",
    "T": [1, 2],
    "batch": 4,
    "device": "cpu",
}


@pytest.fixture
def offered() -> Catalogue:
    """The canned catalogue."""
    return parse(fake_catalogue.CATALOGUE)


@pytest.fixture
def executor() -> LocalExecutor:
    """Runs the fake worker."""
    return LocalExecutor(WORKER, grace_s=0.3)


@pytest.fixture
def make_spec() -> Callable[..., TrialSpec]:
    """Make the specification of one trial of a method."""

    def make(
        method: str = "fine",
        probe: str = "memory",
        timeout_s: float = 60.0,
        device: str = "cpu",
        trial: str = "0123456789abcdef",
    ) -> TrialSpec:
        cell = Cell(Choice.make(method), Choice.make("tiny"), "digits", 2, 4, device=device)
        return TrialSpec(trial, "demo", cell, probe, 0, 0, timeout_s, "env", "code", 1)

    return make


@pytest.fixture
def write_sweep(tmp_path: Path) -> Callable[..., Path]:
    """Write a sweep file of one grid; keywords replace axes, None drops one."""

    def write(head: str = "repeats = 1", name: str = "demo", **axes: Any) -> Path:
        grid = {key: value for key, value in (GRID | axes).items() if value is not None}
        lines = [head, "[[grid]]", *(f"{key} = {_toml(value)}" for key, value in grid.items())]
        path = tmp_path / f"{name}.toml"
        path.write_text("\n".join(lines))
        return path

    return write


@pytest.fixture
def measure(tmp_path: Path) -> Callable[..., tuple[Summary, Recorder]]:
    """Run a sweep file with the fake catalogue and the fake worker."""

    def measure(path: Path, **options: Any) -> tuple[Summary, Recorder]:
        listener = Recorder()
        request = RunRequest(str(path), results=tmp_path / "results", **options)
        executor = LocalExecutor(WORKER, grace_s=0.3)
        return run(request, listener, executor=executor, command=CATALOGUE), listener

    return measure


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)
