"""Every method trains: accuracy on real digits that a broken gradient would not reach."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import ratebp
from harness import data
from ratebp import LIF, StepContext

FLOOR = 0.75  # chance is 0.1
DEAD = 0.7
"""What a readout stays below on hidden layers that do not learn."""

RECIPES: dict[str, dict[str, Any]] = {
    # Rates that are functions of the mean current alone want neurons without a leak, a rectifier
    # without a ceiling wants a norm that keeps currents in bounds.
    "dsr": {"decay": 1.0},
    "tandem": {"decay": 1.0, "norm": True},
}


def network(norm: bool = False, **neuron: Any) -> nn.Sequential:
    """An MLP 64-24-12-10 whose hidden layers spike from the start."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs, gain in ((64, 24, 1.0), (24, 12, 2.74)):
        synapse = nn.Linear(inputs, outputs)
        nn.init.normal_(synapse.weight, std=gain * inputs**-0.5)
        nn.init.zeros_(synapse.bias)
        between = [nn.BatchNorm1d(outputs)] if norm else []
        layers += [synapse, *between, LIF(**{"decay": 0.5, **neuron})]
    return nn.Sequential(*layers, nn.Linear(12, 10))


def accuracy(name: str, model: nn.Sequential, timesteps: int = 4) -> float:
    """Train for three epochs with Adam; return the accuracy on the test images."""
    learning = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(learning, lr=0.02)
    method = ratebp.methods.get(name)
    bound, context = method.bind(model, timesteps), StepContext(optimizer)
    digits = data.load("digits")
    torch.manual_seed(0)  # sltt_k draws its steps
    for epoch in range(3):
        for x, y in digits.batches("train", 64, epoch=epoch, drop_last=True):
            bound.step(ratebp.direct(x, timesteps), y, context=context)
            if method.info.updates != "time step":
                context.update()
    ((x, y),) = digits.batches("test", len(digits.test))
    right = bound.infer(ratebp.direct(x, timesteps)).argmax(1) == y
    return float(right.double().mean())


@pytest.mark.deep_but("bptt_m", "rate_m", "sltt")
@pytest.mark.parametrize("name", ratebp.methods.names())
def test_accuracy_is_above_the_floor(name: str) -> None:
    assert accuracy(name, network(**RECIPES.get(name, {}))) > FLOOR


@pytest.mark.parametrize("name", ["ann", "bptt_m", "tandem"])
def test_a_readout_on_layers_that_do_not_learn_stays_below_the_floor(name: str) -> None:
    """So the floor asks for the gradients of hidden layers."""
    model = network(**RECIPES.get(name, {}))
    for layer in list(model)[:-1]:
        layer.requires_grad_(False)
    assert 0.3 < accuracy(name, model) < DEAD


def test_hidden_layers_that_learn_the_wrong_way_stay_below_the_floor() -> None:
    model = network()
    for layer in list(model)[:-1]:
        for parameter in layer.parameters():
            parameter.register_hook(torch.neg)
    assert accuracy("bptt_m", model) < 0.5
