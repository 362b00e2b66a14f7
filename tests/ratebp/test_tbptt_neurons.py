"""Truncated BPTT of every neuron that runs step by step, against a loop that is cut by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ratebp import ALIF, LIF, PLIF, TLIF, Recurrent, SlidingPSN
from ratebp.rules.neurons.exact import step_neuron
from ratebp.testing.gradients import gradients_of

NEURONS = [
    LIF,
    PLIF,
    TLIF,
    lambda: ALIF(adaptation=0.4),
    lambda: SlidingPSN(3),
    lambda: Recurrent(nn.Linear(9, 9), ALIF()),
]


@pytest.mark.parametrize("make", NEURONS)
@pytest.mark.parametrize("window", [1, 2, 4])
def test_every_neuron_is_cut_between_windows(make: Callable[[], nn.Module], window: int) -> None:
    torch.manual_seed(0)
    model: Any = nn.Sequential(
        nn.Linear(7, 9), make(), nn.Linear(9, 9), make(), nn.Linear(9, 5)
    ).double()
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.Linear):
                layer.weight.mul_(2.5)  # so that every layer spikes
    x, y = 2 * torch.randn(4, 6, 7).double(), torch.arange(6) % 5
    got = gradients_of("tbptt", model, x, y, window=window)
    first, second = step_neuron(model[1]), step_neuron(model[3])
    losses = []
    for t, now in enumerate(x):
        if t % window == 0:
            first.detach(), second.detach()
        losses.append(F.cross_entropy(model[4](second(model[2](first(model[0](now))))), y) / 4)
    want = torch.autograd.grad(torch.stack(losses).sum(), list(model.parameters()))
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-14)
