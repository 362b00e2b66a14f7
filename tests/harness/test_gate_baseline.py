"""The recorded figures: what is written is read, damage is refused, branches merge."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import torch

from harness.errors import StoreError
from harness.gate.baseline import (
    COLUMNS,
    STATUS,
    Baseline,
    CellName,
    RecordedFigure,
    environment,
    figures,
)
from harness.gate.exact import BASELINES
from harness.outcome import Outcome
from harness.rows import MEASUREMENT_VERSION, Row

ROOT = Path(__file__).parents[2]
NET = "tiny_resnet(norm=none, width=0.25)"
PEAK, COUNT = ("mem.live_peak", "step"), ("ops.count", "forward")


def place(method: str, T: int) -> CellName:
    return CellName(method, NET, "synthetic-1x8x8-10", T, 2, "float32")


def cell(peak: int) -> dict[tuple[str, str], RecordedFigure]:
    return {PEAK: RecordedFigure(peak, "B"), COUNT: RecordedFigure(7, "1")}


FOUND = {
    place("tbptt(window=4)", 2): cell(30),
    place("tbptt", 16): cell(20),
    place("tbptt", 2): cell(-10),
    place("saf_e", 2): {STATUS: RecordedFigure("skipped")},
}


def test_the_environment_is_that_of_the_children() -> None:
    minor = ".".join(torch.__version__.split(".")[:2])
    assert environment() == f"cpu-torch{minor}-m{MEASUREMENT_VERSION}"


def test_a_prediction_becomes_figures_or_a_status() -> None:
    row = Row("mem.live_peak", "step", "B", "exact", (5.0,))
    assert figures(Outcome("ok", rows=(row,))) == {PEAK: RecordedFigure(5, "B")}
    assert figures(Outcome("skipped", "cannot")) == {STATUS: RecordedFigure("skipped")}


def test_what_is_written_is_read_and_a_file_is_sorted_with_cells_apart(tmp_path: Path) -> None:
    baseline = Baseline(tmp_path / "new" / "folder")
    assert not baseline.exists()
    assert baseline.read() == {}
    baseline.write(FOUND)
    assert baseline.exists()
    assert baseline.read() == FOUND
    assert baseline.read(["saf_e"]) == {place("saf_e", 2): FOUND[place("saf_e", 2)]}
    name = f'"{NET}",synthetic-1x8x8-10'
    assert (baseline.folder / "tbptt.csv").read_text().splitlines() == [
        ",".join(COLUMNS),
        "",
        f"tbptt,{name},2,2,float32,mem.live_peak,step,-10,B",
        f"tbptt,{name},2,2,float32,ops.count,forward,7,1",
        "",
        f"tbptt,{name},16,2,float32,mem.live_peak,step,20,B",
        f"tbptt,{name},16,2,float32,ops.count,forward,7,1",
        "",
        f"tbptt(window=4),{name},2,2,float32,mem.live_peak,step,30,B",
        f"tbptt(window=4),{name},2,2,float32,ops.count,forward,7,1",
    ]


def test_some_methods_are_recorded_and_the_others_stay(tmp_path: Path) -> None:
    baseline = Baseline(tmp_path)
    baseline.write(FOUND)
    baseline.write({place("sltt", 2): cell(1)}, ["sltt", "saf_e"])
    assert {path.stem for path in tmp_path.iterdir()} == {"sltt", "tbptt"}
    baseline.write({place("sltt", 2): cell(2)})
    assert baseline.read() == {place("sltt", 2): cell(2)}


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda text: text.replace("method,", "name,", 1), "first line is not method,model"),
        (lambda text: text.replace("\n\n", "\n<<<<<<< ours\n", 1), "line 2: "),
        (lambda text: text.replace(",20,B", ",2O,B"), "invalid literal for int"),
        (lambda text: text + text.splitlines()[-1].replace(",7,", ",8,") + "\n", "there twice"),
    ],
    ids=["heading", "conflict", "number", "twice"],
)
def test_a_damaged_file_is_refused_with_the_way_out(
    tmp_path: Path, damage: object, words: str
) -> None:
    assert callable(damage)
    baseline = Baseline(tmp_path)
    baseline.write(FOUND)
    file = tmp_path / "tbptt.csv"
    file.write_text(damage(file.read_text()))
    with pytest.raises(StoreError, match=words) as told:
        baseline.read()
    assert "--method tbptt --update" in str(told.value)


def test_branches_that_change_neighbouring_cells_merge_without_conflict(tmp_path: Path) -> None:
    last = place("tbptt", 2)
    versions = {
        "ours": FOUND | {last: {**cell(-10), COUNT: RecordedFigure(6, "1")}},
        "base": FOUND,
        "theirs": FOUND | {place("tbptt", 16): cell(19)},
    }
    for name, found in versions.items():
        Baseline(tmp_path / name).write(found)
    paths = [str(tmp_path / name / "tbptt.csv") for name in versions]
    subprocess.run(["git", "merge-file", *paths], check=True, env=os.environ)
    merged = Baseline(tmp_path / "ours").read(["tbptt"])
    assert merged[last][COUNT] == RecordedFigure(6, "1")
    assert merged[place("tbptt", 16)][PEAK] == RecordedFigure(19, "B")


def test_the_shipped_baselines_are_as_they_would_be_written(tmp_path: Path) -> None:
    folders = [path for path in (ROOT / BASELINES).glob("*") if path.is_dir()]
    assert folders
    for folder in folders:
        recorded = Baseline(folder).read()
        Baseline(tmp_path / folder.name).write(recorded)
        for file in folder.iterdir():
            assert file.read_text() == (tmp_path / folder.name / file.name).read_text()
        trained = {place.name for place, found in recorded.items() if STATUS not in found}
        assert trained == {file.stem for file in folder.iterdir()}, "a method that is never counted"
