"""Options of the networks reach every layer; wrong ones are refused with the legal values."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from ratebp import models
from ratebp.errors import OptionError
from ratebp.neurons import LIF

EVERY = [name for name in models.names() if "width" in models.get(name).options]


def channels(name: str, **options: object) -> list[int]:
    with torch.device("meta"):
        model = models.build(name, **options)
    return [module.out_channels for module in model.modules() if isinstance(module, nn.Conv2d)]


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("width", [0.001, 0.3, 0.5, 2, 1.0])
def test_width_scales_every_channel_count_and_never_below_one(name: str, width: float) -> None:
    paper = channels(name)
    assert channels(name, width=width) == [max(1, round(count * width)) for count in paper]


def test_width_scales_the_hidden_layer_of_resnet19_too() -> None:
    with torch.device("meta"):
        head = models.build("resnet19", width=0.25, num_classes=3).get_submodule("head")
    assert (head.hidden.in_features, head.hidden.out_features) == (128, 64)
    assert head.readout.out_features == 3


@pytest.mark.parametrize("name", EVERY)
def test_classes_and_input_channels_reach_both_ends(name: str) -> None:
    with torch.device("meta"):
        model = models.build(name, num_classes=3, in_channels=5)
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert layers[0].in_channels == 5
    voters = 10 if "hidden" in models.get(name).options else 1
    assert layers[-1].out_features == 3 * voters


@pytest.mark.parametrize("name", EVERY)
def test_neuron_settings_reach_every_neuron(name: str) -> None:
    with torch.device("meta"):
        model = models.build(name, neuron={"decay": 0.75, "reset": "hard", "alpha": 2.0})
    neurons = [module for module in model.modules() if isinstance(module, LIF)]
    assert {neuron.dynamics for neuron in neurons} == {
        LIF(decay=0.75, reset="hard", alpha=2.0).dynamics
    }
    assert len({id(neuron) for neuron in neurons}) == len(neurons)


def test_the_catalogue_names_summary_and_options() -> None:
    assert set(models.names()) >= {"resnet18", "resnet19", "vgg11", "vgg13", "vggsnn"}
    for name in models.names():
        entry = models.get(name)
        assert entry.name == name
        assert 20 < len(entry.summary) <= 100
        assert "\n" not in entry.summary
        if name not in EVERY:
            assert entry.options[:3] == ("size", "num_classes", "in_channels")
            continue
        if "hidden" in entry.options:
            assert entry.options[4:] == ("image_size", "hidden", "dropout")
            continue
        own = name.startswith(("nf_", "ottt_", "sltt_", "os_", "ms_"))
        norms = () if own else ("norm", "timesteps")
        drops = name.startswith(("ottt_", "sltt_")) or name == "ms_resnet104"
        dropout = ("dropout",) if drops else ()
        feedback = ("feedback",) if name == "ottt_vgg11" else ()
        usual = ("num_classes", "in_channels", "width", "neuron")
        assert entry.options == (*usual, *norms, *dropout, *feedback)
    assert models.get("vggsnn").defaults["in_channels"] == 2
    assert models.get("sew_resnet34").defaults["num_classes"] == 1000


def test_the_same_seed_gives_the_same_weights() -> None:
    nets = []
    for seed in (7, 7, 8):
        torch.manual_seed(seed)
        nets.append(models.build("tiny_resnet"))
    first, again, other = (list(net.parameters()) for net in nets)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


def test_an_unknown_model_lists_the_legal_names_and_the_nearest() -> None:
    with pytest.raises(OptionError, match="Did you mean 'resnet18'") as caught:
        models.build("resnet_18")
    assert all(name in str(caught.value) for name in models.names())
    with pytest.raises(OptionError, match="vgg13"):
        models.get("vgg12")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clases": 10}, r"option of model 'vgg11' 'clases'.*Legal: .*num_classes"),
        ({"num_class": 10}, r"Did you mean 'num_classes'"),
        ({"num_classes": 0}, r"num_classes of model 'vgg11' is 0\. Legal: a whole number"),
        ({"num_classes": True}, "whole number"),
        ({"num_classes": None}, "whole number"),
        ({"num_classes": 10.0}, "whole number"),
        ({"in_channels": -1}, "in_channels of model 'vgg11' is -1"),
        ({"width": 0}, "width of model 'vgg11' is 0. Legal: a positive number"),
        ({"width": -0.5}, "positive number"),
        ({"width": float("nan")}, "positive number"),
        ({"width": float("inf")}, "positive number"),
        ({"width": "wide"}, "'wide'. Legal: a positive number"),
        ({"width": True}, "positive number"),
        ({"width": None}, "positive number"),
        ({"neuron": 0.5}, r"neuron of model 'vgg11' is 0\.5\. Legal: a mapping .*decay"),
        ({"neuron": {"tau": 2.0}}, r"'tau'.*Legal: .*decay"),
        ({"neuron": {"decay": 1.5}}, "decay=1.5"),
        ({"norm": "bn"}, r"norm in model 'vgg11': 'bn'.*Legal: batch, bntt"),
        ({"norm": "tebn"}, r"norm='tebn' with timesteps=None: tebn, bntt have parameters"),
        ({"timesteps": 4}, r"norm='batch' with timesteps=4.*the others take none"),
        ({"norm": "bntt", "timesteps": 0}, "timesteps of model 'vgg11' is 0"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=re.compile(message, re.DOTALL)):
        models.build("vgg11", **options)


def test_no_neuron_settings_is_legal() -> None:
    assert isinstance(models.build("tiny_resnet", neuron=None), nn.Module)


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("ottt_vgg11", [f"features.{n}.lif.dropout" for n in (0, 1, 3, 4, 6, 7, 9, 10)]),
        ("sltt_vgg11", [f"features.{n}.lif.dropout" for n in (0, 2, 4, 5, 7, 8, 10, 11)]),
        (
            "sltt_resnet18",
            [f"stages.{s}.{b}.first.lif.dropout" for s in range(4) for b in (0, 1)] + ["head.0"],
        ),
    ],
)
def test_where_the_dropout_of_ottt_and_sltt_stands(name: str, places: list[str]) -> None:
    with torch.device("meta"):
        model, without = models.build(name, dropout=0.3), models.build(name)
    found = {p: m.p for p, m in model.named_modules() if isinstance(m, nn.Dropout)}
    assert found == dict.fromkeys(places, 0.3)
    assert not any(isinstance(m, nn.Dropout) for m in without.modules())
    with pytest.raises(OptionError, match=r"dropout of model.*is 1.*below 1"):
        models.build(name, dropout=1)
