"""Settings of a wrong type are refused by name; none is converted into something it never said."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import ratebp
from ratebp import ALIF, LIF, PLIF, PSN, TLIF, MaskedPSN, Recurrent, SlidingPSN, losses, norms
from ratebp.dynamics import Dynamics
from ratebp.errors import OptionError
from ratebp.neurons import KINDS, check
from ratebp.surrogates import Surrogate

NO_NUMBERS: tuple[Any, ...] = ("4", True, None, math.nan, math.inf, [1.0], torch.tensor(0.5), 1j)
NO_FLAGS: tuple[Any, ...] = ("false", "true", 0, 1, None, torch.tensor(True))
NO_NAMES: tuple[Any, ...] = (None, 3, ["sigmoid"], {"a": 1}, Surrogate(), "Sigmoid", LIF)
NO_COUNTS: tuple[Any, ...] = ("2", True, 2.0, None, 0, -1, [2])
NUMBERS = ("decay", "threshold", "alpha", "adaptation", "adaptation_decay", "masking")
COUNTS = ("timesteps", "order")


def wrong_of(setting: str) -> tuple[Any, ...]:
    if setting in NUMBERS:
        return NO_NUMBERS
    if setting in COUNTS:
        return NO_COUNTS
    return NO_FLAGS if setting == "detach_reset" else NO_NAMES


NEEDED: dict[type, dict[str, Any]] = {PSN: {"timesteps": 4}, MaskedPSN: {"timesteps": 4}}
NEURONS = (LIF, PLIF, ALIF, TLIF, PSN, MaskedPSN, SlidingPSN)


@pytest.mark.parametrize("kind", NEURONS)
def test_every_setting_of_every_neuron_is_of_its_type(kind: type[nn.Module]) -> None:
    import inspect

    for setting in inspect.signature(kind).parameters:
        for value in wrong_of(setting):
            with pytest.raises(OptionError, match=setting):
                kind(**{**NEEDED.get(kind, {}), setting: value})


@pytest.mark.parametrize("kind", KINDS)
def test_settings_of_a_sweep_are_of_their_type(kind: str) -> None:
    needed = NEEDED.get(KINDS[kind], {})
    for setting, value in (("threshold", "1.0"), ("threshold", True), ("alpha", "4")):
        with pytest.raises(OptionError, match=setting):
            check({"type": kind, **needed, setting: value})
    with pytest.raises(OptionError, match="type of neuron"):
        check({"type": [kind]})


def test_a_network_refuses_its_neurons_settings_in_words() -> None:
    with pytest.raises(OptionError, match="detach_reset='false' must be True or False"):
        ratebp.models.build("tiny_resnet", neuron={"detach_reset": "false"})
    with pytest.raises(OptionError, match="threshold='1'"):
        ratebp.models.build("tiny_resnet", norm="tdbn", neuron={"threshold": "1"})
    for option, value in {"width": "1", "num_classes": True, "neuron": "lif", "norm": []}.items():
        with pytest.raises(OptionError, match=option):
            ratebp.models.build("tiny_resnet", **{option: value})


def test_legal_settings_are_kept_as_they_are() -> None:
    lif = LIF(decay=0, threshold=1, reset="hard", detach_reset=False, surrogate="atan", alpha=2)
    assert lif.dynamics == Dynamics(0, 1, "hard", False, Surrogate("atan", 2))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: norms.td_batch_norm(4, "1"), "threshold"),
        (lambda: norms.td_batch_norm(4, 1.0, alpha="1"), "alpha"),
        (lambda: norms.TEBN("4", 2), "channels"),
        (lambda: norms.BNTT(4, "2"), "timesteps"),
        (lambda: norms.Scale("2"), "factor"),
        (lambda: norms.LearnedScale(2.0), r"LearnedScale.*nn.Parameter"),
        (lambda: Recurrent(nn.Linear, LIF()), "no module"),
        (lambda: Recurrent(nn.Linear(2, 2), LIF), "cannot hear"),
        (lambda: losses.Mix(weight="0.5"), "weight"),
        (lambda: losses.Mix(weight=True), "weight"),
        (lambda: losses.Scoped(["mean"]), "scope"),
        (lambda: losses.Scoped("mean", "cross_entropy"), "cannot be called"),
        (lambda: ratebp.direct(torch.zeros(2, 3), "4"), "timesteps"),
        (lambda: ratebp.direct([1.0], 4), "tensor"),
        (lambda: ratebp.methods.get("fptt", alpha="1"), "alpha"),
        (lambda: ratebp.methods.get("stllr", alpha_pre="1"), "alpha_pre"),
        (lambda: ratebp.methods.get("eprop", seed=1.5), "seed"),
        (lambda: ratebp.methods.get("eprop", seed="1"), "seed"),
        (lambda: ratebp.methods.get("tbptt", window="2"), "window"),
        (lambda: ratebp.methods.get("rate_m", grad_scale=["one"]), "grad_scale"),
    ],
)
def test_other_settings_are_of_their_type(make: Callable[[], Any], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        make()
