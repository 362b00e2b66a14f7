"""Peers beside ours: equality is checked first, and no ratio is printed without it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

sys.path.append(str(Path(__file__).parent))

from fake_peers import checkout, package

import ratebp
from benchmarks.peers import race, rate_bp, spikingjelly
from benchmarks.peers.command import Peer, main
from benchmarks.peers.equality import (
    UnequalError,
    agreement,
    demand_equal,
    demand_near,
)
from benchmarks.peers.sides import Side, copy_weights, ours, watched
from harness.errors import HarnessError
from harness.spec import Cell, Choice
from harness.trial.bench import build
from harness.trial.probe import Bench

SMALL = ("--data", "synthetic-3x4x4-10", "--T", "2", "--batch", "2")
QUICK = ("--processes", "1", "--blocks", "1")
PUBLISHED = Peer(
    "words", "benchmarks.peers.rate_bp", rate_bp.METHODS, ("resnet18",), has_checkout=True
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def bench(method: str, dtype: str = "float64") -> Bench:
    model = Choice.make("tiny_resnet", {"width": 0.25})
    return build(Cell(Choice(method), model, "digits", T=3, batch=4, dtype=dtype))


def side(dtype: str = "float64", method: str = "bptt_m") -> Side:
    return ours(bench(method, dtype))


def compare(folder: Path, method: str = "bptt_m") -> int:
    return main(PUBLISHED, ["--checkout", str(folder), "--method", method, *SMALL, *QUICK])


@pytest.mark.deep
def test_a_checkout_that_is_equal_gets_its_ratio(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert compare(checkout(tmp_path)) == 0
    out = capfd.readouterr().out
    assert "equal in float64: all " in out
    assert "spikes of 17 layers" in out
    assert "ratio" in out
    assert "MiB, theirs" in out
    assert "(1 processes of 1 blocks ABBA" in out
    assert "torch" in out.splitlines()[-1]


def test_a_checkout_that_differs_gets_no_ratio_but_the_place(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert compare(checkout(tmp_path, threshold=1.25), "bptt_s") == 2
    out, err = capfd.readouterr()
    assert "no ratio: published code bptt_s computes another step than ours, in float64" in err
    assert "spikes of layer stem.lif agree in" in err or "spikes of layer stages" in err
    assert "ratio" not in out
    assert "step:" not in out


def test_a_folder_without_the_code_is_named(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=rf"{tmp_path} holds no model/resnet\.py"):
        rate_bp.rival(bench("bptt_m"), {"checkout": str(tmp_path)})


@pytest.fixture
def no_peer() -> Iterator[None]:
    """Nothing of SpikingJelly is imported before or after."""

    def forget() -> None:
        for name in [n for n in sys.modules if n.partition(".")[0] == "spikingjelly"]:
            del sys.modules[name]

    forget()
    yield
    forget()


@pytest.mark.usefixtures("no_peer")
def test_an_installed_package_is_translated_and_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(package(tmp_path)))
    request = {
        "peer": "benchmarks.peers.spikingjelly",
        **{"method": "bptt_m", "options": {}, "model": "tiny_resnet", "data": "digits"},
        **{"T": 3, "batch": 4, "device": "cpu", "blocks": 1, "classes": 10},
    }
    checked = race.check(request)
    assert checked["labels"] == ["ratebp bptt_m", "SpikingJelly 9.9"]
    assert checked["least_equal"][0] == 1
    assert checked["worst"][0] < 1e-12
    assert checked["float32"] < 1e-3
    raced = race.race(request)
    for clock in (raced["wall"], raced["processor"]):
        assert clock["ratio"] == pytest.approx(clock["ours_s"] / clock["theirs_s"])
    counted = race.count(request)
    # Ours convolves the constant input at one step of three, forward and for the weight.
    stem = ratebp.models.build("tiny_resnet", in_channels=1).stem.conv
    first = 2 * 4 * 8 * 8 * stem.weight.numel()
    assert counted["flops"][0] == counted["flops"][1] - 2 * (3 - 1) * first
    assert 0 < counted["peaks"][0] < counted["peaks"][1]


@pytest.mark.usefixtures("no_peer")
def test_without_the_package_its_installation_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spikingjelly", None)
    with pytest.raises(HarnessError, match=r"pip install spikingjelly==2.0.0"):
        spikingjelly.rival(bench("bptt_m"), {})


def test_equal_sides_agree_to_the_last_bit() -> None:
    found = agreement(side(), side())
    assert found.layers == 7
    assert found.least_equal[0] == 1
    assert found.worst[0] == 0
    assert found.cosine == pytest.approx(1, abs=1e-12)
    demand_equal(found, "a copy")
    demand_near([0.5, found.worst[0]], "a copy")


def test_a_gradient_that_is_off_is_named() -> None:
    good, bad = side(), side()
    name, parameter = list(bad.model.named_parameters())[3]

    def gradient() -> Any:
        loss = bad.gradient()
        assert parameter.grad is not None
        parameter.grad.mul_(1.001)
        return loss

    found = agreement(good, replace(bad, gradient=gradient))
    assert found.worst == (pytest.approx(1e-3, rel=1e-6), name)
    with pytest.raises(UnequalError, match=rf"gradient of {name} is off by 1.00e-03"):
        demand_equal(found, "the other")


def test_another_rule_is_no_rounding() -> None:
    found = agreement(side("float32"), side("float32", "sltt"))
    with pytest.raises(UnequalError, match="in float32: on 2 small batches a gradient was off by"):
        demand_near([1.0, found.worst[0]], "the other")
    with pytest.raises(UnequalError, match="in float64"):
        demand_equal(found, "the other")


def test_another_number_of_layers_is_refused() -> None:
    other = side()
    some = dict(list(other.spikes().items())[:-1])
    with pytest.raises(UnequalError, match="6 spiking layers, ours 7"):
        agreement(side(), replace(other, spikes=lambda: some))


def test_weights_are_copied_only_into_the_same_network() -> None:
    source = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    target = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    copy_weights(source, target, "it")
    assert torch.equal(source[0].weight, target[0].weight)
    with pytest.raises(HarnessError, match="has 2 parameters and buffers, ours 7"):
        copy_weights(source, nn.Linear(2, 3), "it")
    with pytest.raises(HarnessError, match="not the same network"):
        copy_weights(nn.Linear(2, 3), nn.Linear(3, 2), "it")


def test_only_the_first_pass_of_a_layer_is_watched() -> None:
    layer = nn.Identity()

    def run() -> None:
        for value in (1.0, 2.0, 3.0):
            layer(torch.full((2, 5), value))

    (seen,) = watched([layer], run, 4, lambda out: out)
    assert seen[:, 0].tolist() == [1, 1, 2, 2]
    assert not layer._forward_hooks


def test_the_peak_is_that_of_a_step_above_what_outlives_it() -> None:
    first = side("float32")
    assert race.peak(first) == race.peak(first) > 0
