"""From a sweep to its questions, against a catalogue."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.data.files import WANTED
from harness.errors import SweepError
from harness.spec import Training
from harness.sweep.catalogue import Catalogue
from harness.sweep.expand import Question, ask
from harness.sweep.file import read

Ask = Callable[..., list[Question]]


@pytest.fixture
def asked(write_sweep: Callable[..., Path], offered: Catalogue) -> Ask:
    def asked(how: dict[str, Any] | None = None, **axes: Any) -> list[Question]:
        return ask(read(write_sweep(**axes)), offered, source="demo.toml", **(how or {}))

    return asked


def test_the_product_of_the_axes(asked: Ask) -> None:
    found = asked()
    assert len(found) == len(set(found)) == 2 * 2 * 2
    assert {(q.probe, q.cell.method.name, q.cell.T) for q in found} == {
        (probe, method, T)
        for probe in ("time", "memory")
        for method in ("fine", "wide")
        for T in (1, 2)
    }


def test_layouts_and_ways_to_run_multiply_the_cells(asked: Ask) -> None:
    found = asked(
        memory_format=["contiguous", "channels_last"], execution=["eager", "compile"], T=1
    )
    assert len(found) == len(set(found)) == 2 * 2 * 2 * 2
    ways = {(q.cell.memory_format, q.cell.execution) for q in found}
    assert len(ways) == 4
    assert {(q.cell.memory_format, q.cell.execution) for q in asked()} == {("contiguous", "eager")}


def test_a_batch_larger_than_the_data_is_refused_before_any_trial(asked: Ask) -> None:
    with pytest.raises(SweepError, match=r"batch 2000 .* 'digits' .*; legal: 1 to 1437"):
        asked(data="digits", batch=[4, 2000])
    assert asked(data="digits", batch=1437)


def test_all_methods(asked: Ask, offered: Catalogue) -> None:
    found = asked(method="all", T=1, probes="time")
    assert {question.cell.method.name for question in found} == set(offered.methods)


def test_listed_options_expand_and_defaults_leave_the_label(asked: Ask) -> None:
    entry = {"name": "fine", "grad_scale": ["one", "inverse_t"], "window": [4, 8]}
    found = asked(method=entry, T=1, probes="time")
    assert [question.cell.method.label for question in found] == [
        "fine",
        "fine(window=8)",
        "fine(grad_scale=inverse_t)",
        "fine(grad_scale=inverse_t, window=8)",
    ]


def test_models_take_options_and_lists(asked: Ask) -> None:
    models = ["other", {"name": "tiny", "width": [0.5, 1.0], "neuron": {"surrogate": "atan"}}]
    found = asked(model=models, method="fine", T=1, probes="time")
    assert [question.cell.model.label for question in found] == [
        "other",
        "tiny(neuron.surrogate=atan, width=0.5)",
        "tiny(neuron.surrogate=atan, width=1.0)",
    ]


def test_what_two_grids_share_is_asked_once(
    write_sweep: Callable[..., Path], offered: Catalogue
) -> None:
    path = write_sweep(T=[1, 2, 2])
    more = write_sweep(name="more", head="", T=[2, 4]).read_text()
    path.write_text(path.read_text() + "\n" + more)
    found = ask(read(path), offered)
    assert len(found) == 2 * 2 * 3


def test_the_budget_belongs_to_the_probes_that_train(asked: Ask) -> None:
    found = asked(
        probes=["time", "accuracy", "fidelity"], T=1, method="fine", training={"epochs": 7}
    )
    assert {question.probe: question.cell.training for question in found} == {
        "time": None,
        "accuracy": Training(epochs=7),
        "fidelity": Training(epochs=7),
    }


def test_synthetic_data_need_no_list(asked: Ask) -> None:
    assert asked(data="synthetic-3x8x8-10")[0].cell.data.label == "synthetic-3x8x8-10"


def test_files_that_the_user_lacks_stop_the_run_before_it_begins(
    asked: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RATEBP_DATA", str(tmp_path))
    with pytest.raises(SweepError, match=r"grid 1: data: .*cifar10(.|\n)*RATEBP_DATA"):
        asked(data="cifar10")
    for file in WANTED["cifar10"].file_sets[0].files:
        path = tmp_path / WANTED["cifar10"].file_sets[0].folder / file
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert asked(data="cifar10")


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ({"method": "fien"}, ["unknown method 'fien'", "'fine'", "hangs", "list methods"]),
        ({"method": {"name": "fine", "gradscale": 1}}, ["option of method 'fine'", "grad_scale"]),
        (
            {"method": {"name": "fine", "grad_scale": "two"}},
            ["grad_scale = 'two' is not legal", "'one', 'inverse_t'"],
        ),
        ({"method": {"name": "fine", "window": True}}, ["window = True", "type int"]),
        ({"method": {"name": "fine", "window": []}}, ["empty list of option values"]),
        ({"model": "tny"}, ["unknown model 'tny'", "did you mean 'tiny'", "other, tiny"]),
        ({"model": {"name": "tiny", "widht": 2}}, ["option of model 'tiny'", "'width'"]),
        ({"model": {"name": "tiny", "width": {"a": [1]}}}, ["width = {'a': [1]} is not legal"]),
        ({"model": {"name": "tiny", "neuron": {"surrogate": "sigmod"}}}, ["'sigmoid'"]),
        ({"data": "digit"}, ["data", "'digit'", "digits", "fashion-mini"]),
        (
            {"training": {"epochs": 2}},
            ["training: no use without", "'fidelity' or 'activity' or 'accuracy'"],
        ),
    ],
)
def test_a_name_that_does_not_exist(asked: Ask, axes: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(SweepError) as caught:
        asked(**axes)
    for word in ["demo.toml: grid 1: ", *words]:
        assert word in str(caught.value)


def test_the_device_is_resolved(asked: Ask) -> None:
    def devices(how: dict[str, Any], device: str) -> set[str]:
        return {question.cell.device for question in asked(how, device=device)}

    assert devices({}, "auto") == {"cpu"}
    assert devices({"auto_device": "cuda"}, "auto") == {"cuda"}
    assert devices({"device": "cpu"}, "cuda") == {"cpu"}
    with pytest.raises(SweepError, match="'cuda' cannot be had: no driver; use 'auto' or 'cpu'"):
        devices({"no_cuda": "no driver"}, "cuda")
