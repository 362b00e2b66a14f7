"""What travels to a worker: JSON both ways, labels, ids."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest

from harness.spec import LATER, Cell, Choice, Training, TrialSpec, trial_id

CELL = Cell(
    method=Choice.make("ottt_a", {"placement": "published"}),
    model=Choice.make("tiny", {"width": 0.5, "neuron": {"decay": 0.2, "detach_reset": False}}),
    data="digits",
    T=4,
    batch=32,
    training=Training(epochs=3),
)


def test_a_trial_survives_json() -> None:
    spec = TrialSpec("0123", "quick", CELL, "accuracy", 1, 7, 300.0, "env", "code", 1)
    assert TrialSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_options_have_a_label_and_nest_again() -> None:
    assert CELL.method.label == "ottt_a(placement=published)"
    assert CELL.model.label == "tiny(neuron.decay=0.2, neuron.detach_reset=false, width=0.5)"
    assert CELL.model.kwargs() == {"width": 0.5, "neuron": {"decay": 0.2, "detach_reset": False}}
    assert Choice.make("sltt").label == "sltt"


def test_the_order_of_options_does_not_matter() -> None:
    assert Choice.make("m", {"a": 1, "b": 2}) == Choice.make("m", {"b": 2, "a": 1})


def _id(cell: Cell = CELL, probe: str = "time", repeat: int = 0, **changes: object) -> str:
    known = {"code": "c", "environment": "e", "measurement": 1} | changes
    return trial_id(cell, probe, repeat, **known)  # type: ignore[arg-type]


def test_the_id_is_stable_between_versions() -> None:
    assert _id() == "0161d477c48f8e4c"


def test_axes_that_came_later_leave_a_trace_only_where_they_are_used() -> None:
    assert not set(LATER) & set(CELL.to_json())
    compiled = dataclasses.replace(CELL, execution="compile")
    assert compiled.to_json() == {**CELL.to_json(), "execution": "compile"}
    assert Cell.from_json(json.loads(json.dumps(compiled.to_json()))) == compiled
    assert Cell.from_json(CELL.to_json()) == CELL


@pytest.mark.parametrize(
    "other",
    [
        _id(dataclasses.replace(CELL, memory_format="channels_last")),
        _id(dataclasses.replace(CELL, execution="compile")),
        _id(dataclasses.replace(CELL, operators="cpp")),
        _id(dataclasses.replace(CELL, T=5)),
        _id(dataclasses.replace(CELL, method=Choice.make("ottt_a"))),
        _id(dataclasses.replace(CELL, training=None)),
        _id(probe="memory"),
        _id(repeat=1),
        _id(code="d"),
        _id(environment="f"),
        _id(measurement=2),
    ],
)
def test_whatever_changes_the_figures_changes_the_id(other: str) -> None:
    assert other != _id()


def test_a_worker_needs_no_pydantic() -> None:
    code = "import sys, harness.spec, harness.rows; print('pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
