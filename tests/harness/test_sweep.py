"""The sweep file by itself: every fault has one message with place, value and legal values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import SweepError
from harness.sweep.file import find, read

Write = Callable[..., Path]

BAD_AXES: list[tuple[dict[str, Any], list[str]]] = [
    ({"T": 0}, ["T: 0 is not legal", "a whole number of time steps from 1"]),
    ({"T": [1, -4]}, ["T: -4 is not legal"]),
    ({"T": 2.5}, ["T: 2.5 is not legal"]),
    ({"T": 2.0}, ["T: 2.0 is not legal"]),
    ({"T": True}, ["T: True is not legal"]),
    ({"T": "four"}, ["T: 'four' is not legal"]),
    ({"T": []}, ["T: an empty list asks for nothing"]),
    ({"batch": "many"}, ["batch: 'many' is not legal", "a whole number of samples from 1"]),
    ({"batch": 0}, ["batch: 0 is not legal"]),
    ({"seed": -1}, ["seed: -1 is not legal"]),
    ({"probes": "tme"}, ["probes: unknown value 'tme'", "did you mean 'time'", "memory, time"]),
    ({"probes": []}, ["probes: an empty list"]),
    ({"dtype": "float16"}, ["dtype: unknown value 'float16'", "bfloat16, float32, float64"]),
    ({"device": "gpu"}, ["device: unknown value 'gpu'", "auto, cpu, cuda"]),
    ({"memory_format": "nhwc"}, ["memory_format: unknown value", "channels_last, contiguous"]),
    ({"execution": "jit"}, ["execution: unknown value 'jit'", "compile, cuda_graph, eager"]),
    ({"execution": []}, ["execution: an empty list", "one or more of eager, compile"]),
    ({"method": None}, ["method is missing", "a name, a table"]),
    ({"method": 3}, ["method: 3 is not legal"]),
    ({"method": {"placement": "all"}}, ["method: {'placement': 'all'} is not legal"]),
    ({"data": 7}, ["data: 7 is not legal"]),
    ({"modle": "tiny"}, ["unknown axis 'modle'", "did you mean 'model'", "legal: T, batch"]),
    ({"training": {"epoch": 2}}, ["training: unknown key 'epoch'", "did you mean 'epochs'"]),
    ({"training": {"lr": 0}}, ["training: lr: 0 is not legal", "a number above 0"]),
    ({"training": {"optimizer": "sdg"}}, ["training: optimizer: unknown", "did you mean 'sgd'"]),
    ({"training": 3}, ["training: 3 is not legal", "[grid.training]"]),
]


@pytest.mark.parametrize(("axes", "words"), BAD_AXES, ids=[str(axes) for axes, _ in BAD_AXES])
def test_a_bad_axis(write_sweep: Write, axes: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(SweepError) as caught:
        read(write_sweep(**axes))
    text = str(caught.value)
    for word in ["demo.toml: grid 1: ", *words, "Mend that and run again."]:
        assert word in text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name = 'Quick Run'", ["name: 'Quick Run' is not legal", "names the results folder"]),
        ("repeats = true", ["repeats: True is not legal"]),
        ("timeout_s = inf", ["timeout_s: inf is not legal"]),
        ("timeouts = 3", ["unknown key 'timeouts'", "did you mean 'timeout_s'"]),
        ("", ["grid is missing", "one or more [[grid]] tables"]),
        ("grid = []", ["grid: an empty list"]),
        ("grid = [3]", ["grid 1: 3 is not a table"]),
        ("name = 'a'\nrepeats = = 2", ["not valid TOML", "line 2"]),
    ],
)
def test_a_bad_head(tmp_path: Path, text: str, words: list[str]) -> None:
    path = tmp_path / "demo.toml"
    path.write_text(text)
    with pytest.raises(SweepError) as caught:
        read(path)
    for word in words:
        assert word in str(caught.value)


def test_all_faults_come_at_once(write_sweep: Write) -> None:
    with pytest.raises(SweepError) as caught:
        read(write_sweep(T=0, batch="many"))
    text = str(caught.value)
    assert text.startswith("demo.toml: 2 faults; mend them and run again.")
    assert "grid 1: T: 0" in text
    assert "grid 1: batch: 'many'" in text


def test_the_second_grid_is_the_one_named(write_sweep: Write) -> None:
    path = write_sweep()
    path.write_text(path.read_text() + "\n" + write_sweep(name="other", T=0).read_text()[11:])
    with pytest.raises(SweepError, match=r"demo\.toml: grid 2: T: 0"):
        read(path)


def test_scalars_become_lists_and_the_file_names_the_sweep(write_sweep: Write) -> None:
    sweep = read(write_sweep(T=8))
    assert sweep.name == "demo"
    assert sweep.grid[0].T == [8]
    assert sweep.grid[0].dtype == ["float32"]


def test_a_bare_name_is_a_file_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "quick.toml").touch()
    assert find("quick", tmp_path) == tmp_path / "quick.toml"
    with pytest.raises(SweepError, match=r"unknown sweep 'quik' \(did you mean 'quick'\?\)"):
        find("quik", tmp_path)


def test_a_folder_is_no_sweep_file(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match="cannot read the sweep file"):
        read(tmp_path)
