"""Models and data by their place in a sweep: described, checked, hashed, and never in the way."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fake_catalogue
import pytest

from harness.data import own
from harness.data.facts import Facts
from harness.errors import DataError, SweepError
from harness.machine.start import ROOT
from harness.planning import plan
from harness.run.sources import ENTRIES, PROBES, Sources
from harness.spec import OWN, Cell, Choice
from harness.sweep.catalogue import Catalogue, parse
from harness.sweep.expand import Question, ask, offered_to, one_model
from harness.sweep.file import Sweep, read
from harness.sweep.places import split, with_places
from harness.trial.bench import build, virtual

NETS = """
import ratebp, helper
from torch import nn
print("hello")
class Net(nn.Module):
    "A line."
    def __init__(self, num_classes, width: int = 4, act: str = "lif"):
        super().__init__()
        self.fc, self.lif = nn.Linear(6, width), ratebp.LIF(decay=helper.DECAY)
        self.head = nn.Linear(width, num_classes)
    def forward(self, x):
        return self.head(self.lif(self.fc(x)))
def needs(depth): return Net(depth)
"""
SETS = """
import torch
def load(n: int = 12):
    "Noise."
    x, y = torch.randn(n, 6), torch.arange(n) % 3
    return (x, y), (x[:3], y[:3])
"""
FILES = {
    "nets": NETS,
    "sets": SETS,
    "helper": "DECAY = 0.5\n",
    "beside": "x = 1\n",
    "syntax": "def f(:\n",
    "leaves": "import sys; sys.exit(3)\n",
}
BROKEN = {
    "syntax.py:Net": "SyntaxError",
    "leaves.py:Net": "SystemExit: 3",
    "nets.py:Absent": "Legal: Net, needs",
    "absent.py:Net": "no file 'absent.py'",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("own")
    for name, text in FILES.items():
        (place / f"{name}.py").write_text(text)
    return place


@pytest.fixture(scope="module")
def known(folder: Path) -> Catalogue:
    """What the sweeps of this file name, looked at once by a real child."""
    models = ["nets.py:Net", "nets.py:needs", *BROKEN]
    data: list[Any] = [{"path": "sets.py:load", "n": [12, 20]}, "sets.py:load", "syntax.py:load"]
    return with_places(parse(fake_catalogue.CATALOGUE), models, data, folder)


@pytest.fixture
def asked(write_sweep: Callable[..., Path], folder: Path, known: Catalogue) -> Any:
    def asked(**axes: Any) -> list[Question]:
        usual = {"data": "sets.py:load", "T": 1, "probes": "memory", "method": "fine"}
        path = write_sweep(**usual | axes)
        return ask(read(path), known, source=path.name, folder=folder)

    return asked


def test_what_is_there_is_described_and_what_is_broken_has_a_reason(known: Catalogue) -> None:
    net = known.models["nets.py:Net"]
    assert (net.summary, net.error) == ("A line.", None)
    assert (net.options["width"].type, net.options["num_classes"].required) == ("int", True)
    for name, words in BROKEN.items():
        assert words in str(known.models[name].error), name
    assert known.data["sets.py:load"].options["n"].default == 12
    assert known.facts[Choice.make("sets.py:load", {"n": 20})] == Facts(
        "sets.py:load(n=20)", "Noise.", "own", (6,), 3, 20, 3
    )
    assert known.facts[Choice("syntax.py:load")] is None
    assert len(list(known.failures())) == len(BROKEN) + 1


DIES = """
import sys, json
for line in sys.stdin:
    if json.loads(line)["name"] == "dies.py:Net":
        print("last words", file=sys.stderr, flush=True)
        sys.exit(7)
    print(json.dumps({"error": "asked again"}), flush=True)
"""


def test_what_ends_the_process_is_broken_and_the_next_is_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("harness.sweep.places.DESCRIBER", (sys.executable, "-c", DIES))
    models = ["dies.py:Net", "other.py:Net"]
    found = with_places(parse(fake_catalogue.CATALOGUE), models, [], tmp_path).models
    assert "exit code 7:\nlast words" in str(found["dies.py:Net"].error)
    assert found["other.py:Net"].error == "asked again"


def test_names_are_written_in_one_way() -> None:
    assert split({"path": "./a/../nets.py:Net", "width": 2}) == ("nets.py:Net", {"width": 2})
    assert split("sub/nets.py:Net") == ("sub/nets.py:Net", {})
    assert split({"spikingjelly": "p.m:f"}) == ("spikingjelly:p.m:f", {})
    assert split({"spikingjelly": "./nets.py:f"}) == ("spikingjelly:nets.py:f", {})


def test_options_are_axes_and_labels(asked: Any) -> None:
    found = asked(
        model={"path": "nets.py:Net", "width": [4, 8]}, data={"path": "sets.py:load", "n": 20}
    )
    assert [question.cell.model.label for question in found] == [
        "nets.py:Net(width=4)",
        "nets.py:Net(width=8)",
    ]
    assert {question.cell.data.label for question in found} == {"sets.py:load(n=20)"}


def test_broken_ones_stay_cells_beside_the_others(asked: Any) -> None:
    found = asked(model=["tiny", *BROKEN, {"path": "syntax.py:Net", "depth": 3}])
    assert len(found) == len(BROKEN) + 2


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ({"model": {"path": "nets.py:Net", "widht": 4}}, "did you mean 'width'"),
        ({"model": {"path": "nets.py:Net", "width": 4.5}}, r"width = 4\.5 .*of type int"),
        ({"model": {"path": "nets.py:Net", "width": True}}, "width = True is not legal"),
        ({"model": {"path": "nets.py:Net", "act": 3}}, "act = 3 .*of type str"),
        ({"model": {"path": "nets.py:needs"}}, "'nets.py:needs' needs 'depth'; give it a value"),
        ({"model": {"path": "nets.py:Net", "name": "tiny"}}, "is not legal; legal: .*path ="),
        ({"model": {"path": 3}}, "is not legal; legal: .*path ="),
        ({"model": "Net"}, r"unknown model 'Net'.*path = 'file\.py:Net'"),
        ({"data": {"path": "sets.py:load", "n": "x"}}, "n = 'x' is not legal"),
        ({"data": {"name": "digits", "n": 3}}, "'digits' takes no options; drop n"),
        ({"batch": 13}, r"batch 13 is more than data set 'sets.py:load' .*1 to 12"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(asked: Any, axes: Any, words: str) -> None:
    with pytest.raises(SweepError, match=words):
        asked(**{"model": "tiny"} | axes)


def test_the_folder_is_told_to_processes_and_decides_no_id(asked: Any, folder: Path) -> None:
    (question,) = asked(model="nets.py:Net")
    cell = question.cell
    assert cell.request()["folder"] == str(folder)
    assert cell.to_json() == replace(cell, folder="elsewhere").to_json()
    assert "folder" not in cell.to_json()
    assert Cell.from_json(json.loads(json.dumps(cell.request()))).folder == str(folder)
    (plain,) = asked(model="tiny", data="digits")
    assert "folder" not in plain.cell.request()


def test_a_plan_counts_the_shape_of_the_data(folder: Path, known: Catalogue) -> None:
    grid = {"probes": "memory", "method": "fine", "model": "nets.py:Net", "T": 1, "batch": 4}
    data = [{"path": "sets.py:load", "n": [12, 20]}, "syntax.py:load"]
    sweep = Sweep.model_validate({"name": "own", "grid": [{**grid, "data": data}]})
    cells = plan.cells(sweep, known, folder=folder)
    assert {cell.data.name: names for cell, names in cells.items()} == {
        "synthetic-6-3": "sets.py:load(n=12), sets.py:load(n=20)",
        "syntax.py:load": "syntax.py:load",
    }


def test_a_byte_of_the_file_or_of_what_it_imports_changes_the_id_and_a_move_does_not(
    folder: Path, tmp_path: Path
) -> None:
    def code(place: Path) -> str:
        files = [place / "nets.py", place / "sets.py"]
        return Sources({"mine": mine}, sys.path, root).code("mine", "memory", files)

    root = tmp_path / "project"  # no more than every trial runs
    modules = [*ENTRIES, f"{PROBES}.memory", "ratebp.methods.mine"]
    for file in (root.joinpath(*name.split(".")).with_suffix(".py") for name in modules):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    mine = root / "ratebp" / "methods" / "mine.py"
    moved = shutil.copytree(folder, tmp_path / "moved")
    before = code(folder)
    assert code(moved) == before
    assert before.partition(OWN)[0] == Sources({"mine": mine}, root=root).code("mine", "memory")
    for name in ("nets", "helper", "sets"):
        text = (moved / f"{name}.py").read_text()
        (moved / f"{name}.py").write_text(f"{text}\n")
        assert code(moved) != before, name
        (moved / f"{name}.py").write_text(text)
    (moved / "beside.py").write_text("x = 2\n")
    assert code(moved) == before


def test_the_files_of_a_cell_are_those_of_the_user_alone(asked: Any, known: Catalogue) -> None:
    (question,) = asked(model="nets.py:Net")
    assert [file.name for file in known.files(question.cell)] == ["nets.py", "sets.py"]
    (question,) = asked(model="absent.py:Net", data="digits")
    assert known.files(question.cell) == ()
    (question,) = asked(model="tiny", data="digits")
    assert known.files(question.cell) == ()


def test_a_trial_and_a_plan_build_the_same_network_on_the_same_data(folder: Path) -> None:
    cell = Cell(
        Choice("sltt"), Choice.make("nets.py:Net", {"width": 5}), Choice("sets.py:load"), 2, 4
    )
    cell = replace(cell, folder=str(folder))
    first, again = build(cell), build(cell)
    assert first.x.shape == (2, 4, 6)
    assert first.x.equal(again.x)
    assert [p.shape for p in first.model.parameters()] == [(5, 6), (5,), (3, 5), (3,)]
    with virtual(cell) as bench:
        assert [p.shape for p in bench.model.parameters()] == [(5, 6), (5,), (3, 5), (3,)]


def test_one_model_for_a_check(known: Catalogue, folder: Path) -> None:
    catalogue = replace(known, models={"tiny": known.models["tiny"]}, data={}, facts={})
    assert one_model("tiny", {"width": 2}, catalogue, folder).label == "tiny(width=2)"
    with pytest.raises(SweepError, match="did you mean 'width'"):
        one_model("tiny", {"widht": 2}, catalogue, folder)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (3, "gives an object of type int. A loader returns"),
        (([[1.0]], [0]), "train.* is .*A loader returns|samples are"),
        ((([[1.0]], [0]), ([[1.0]], [0, 1])), r"\(test\): labels are \[2\]"),
        ((([[1.0]], [0]), ([[1.0, 2.0]], [0])), "give both one shape"),
        ((([[1]], [0]), ([[1]], [0])), "samples are .*int64; legal: .*floating-point"),
        ((([[1.0]], [0.5]), ([[1.0]], [0])), "labels are .*whole numbers"),
        ((([[1.0]], [-1]), ([[1.0]], [0])), "whole numbers from 0"),
        ((([[float("nan")]], [0]), ([[1.0]], [0])), "not finite"),
        ((([["a"]], [0]), ([[1.0]], [0])), "no array of numbers"),
    ],
)
def test_what_is_no_data_set_is_refused(made: object, words: str) -> None:
    with pytest.raises(DataError, match=words):
        own.load("mine", made)


def test_a_data_set_of_torch_is_looked_up() -> None:
    import torch
    from torch.utils.data import TensorDataset

    part = TensorDataset(torch.randn(5, 2), torch.tensor([0, 1, 2, 1, 0]))
    found = own.load("mine", (part, part))
    assert (found.facts.shape, found.facts.num_classes, found.facts.train) == ((2,), 3, 5)
    x, y = next(found.batches("test", 5))
    assert x.equal(part.tensors[0])
    assert y.tolist() == [0, 1, 2, 1, 0]


def test_a_sweep_without_places_starts_no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.sweep.places.DESCRIBER", ("/nonexistent",))
    known = parse(fake_catalogue.CATALOGUE)
    for file in (ROOT / "benchmarks" / "sweeps").glob("*.toml"):
        assert offered_to(read(file), file.parent, known) is known
