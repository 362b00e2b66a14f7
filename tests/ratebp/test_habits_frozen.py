"""Frozen layers cost less: what only their gradients need is not kept, and no other changes."""

from __future__ import annotations

from collections.abc import Callable, Collection
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ratebp
from harness.trial.exact.saved import Saved
from ratebp import LIF
from ratebp.phases import StepContext
from ratebp.testing.problems import Problem

T, B = 4, 3
PLACES = 36
CHANNELS = (2, 4, 6, 5)
FLOAT = 8


def net(norms: bool) -> nn.Sequential:
    """Three convolutions, each with a norm or without, and a readout."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for before, after in pairwise(CHANNELS):
        norm = nn.BatchNorm2d(after) if norms else nn.Identity()
        layers += [nn.Conv2d(before, after, 3, padding=1), norm, LIF(0.6, 0.4, alpha=2.0)]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(CHANNELS[-1] * PLACES, 3)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(2.5)
    return model


class Watched(StepContext):
    """Counts as the memory probe does, and withholds updates."""

    def __init__(self, case: Problem) -> None:
        super().__init__()
        self.saved = Saved([*case.model.parameters(), *case.model.buffers(), case.x, case.y])

    def phase(self, name: str) -> Any:
        return self.saved.phase(name)

    def update(self) -> None:
        pass


def stepped(
    name: str,
    frozen: Collection[int] = (),
    *,
    norms: bool = True,
    evaluated: Collection[int] = (),
    make: Callable[[], nn.Sequential] | None = None,
) -> tuple[int, dict[str, Tensor | None]]:
    """Return the bytes that are saved for the backward, and the gradients by name."""
    model = net(norms) if make is None else make()
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(T, B, CHANNELS[0], 6, 6, generator=draw, dtype=torch.float64)
    case = Problem(model, x, torch.arange(B))
    for place in evaluated:
        model[place].eval()
    for place in frozen:
        model[place].requires_grad_(False)
    context = Watched(case)
    bound = ratebp.methods.get(name).bind(model, T)
    bound.step(case.x, case.y, context=context)
    return context.saved.nbytes, {n: p.grad for n, p in model.named_parameters()}


def saved_by_freezing(name: str, *frozen: int, **settings: Any) -> int:
    """Return by how much the saved bytes fall; the other gradients must not change by a bit."""
    whole, want = stepped(name, **settings)
    less, got = stepped(name, frozen, **settings)
    for each, gradient in got.items():
        if int(each.partition(".")[0]) in frozen:
            assert gradient is None, each
        else:
            assert gradient is not None, each
            assert torch.equal(gradient, want[each]), each
    return whole - less


def numbers(channels: int, steps: int = 1) -> int:
    """Return the bytes of a layer's floats."""
    return steps * B * channels * PLACES * FLOAT


def bits(values: int) -> int:
    return -(-values // 8)


STEP = "sltt", "sltt_k"
TRACED = "ottt_a", "ndot_a", "ostl"
MIDDLE: dict[str, int] = {
    # Spikes of all steps: in bits where a method knows of them, else in floats.
    "bptt_m": bits(T * B * 4 * PLACES),
    "bptt_s": T * bits(B * 4 * PLACES),
    "rga": numbers(4, T),
    "dsr": numbers(4, T),
    # Of the one or two steps of a backward.
    **dict.fromkeys(STEP, bits(B * 4 * PLACES)),
    "tbptt": 2 * bits(B * 4 * PLACES),
    **dict.fromkeys(TRACED, numbers(4)),  # a presynaptic trace
    **dict.fromkeys(("rate_m", "rate_s"), B * 4 * PLACES),  # counts of spikes
    **dict.fromkeys(
        ("tandem", "ann", "t1", "sfa"), numbers(4)
    ),  # mean rates, or spikes of one step
}
"""What the input of the second convolution is kept in."""

LOWEST: dict[str, int] = {
    # The normalised values, from which the neuron's potentials follow, and their deviation.
    "bptt_m": numbers(4, T) + 4 * FLOAT,
    "bptt_s": T * (numbers(4) + 4 * FLOAT),
    # The norm's input, its mean and deviation, and the potentials.
    **dict.fromkeys(STEP, 2 * numbers(4) + 8 * FLOAT),
    "tbptt": 2 * (2 * numbers(4) + 8 * FLOAT),
    # The same, and the trace of the input and of the input 1 of a bias.
    **dict.fromkeys(TRACED, numbers(2) + FLOAT + 2 * numbers(4) + 8 * FLOAT),
    # The mean input, normalised means and eligibilities.
    **dict.fromkeys(("rate_m", "rate_s", "tandem"), numbers(2) + 2 * numbers(4) + 4 * FLOAT),
}
"""What the first convolution, norm and neuron keep, beside the model's input."""


@pytest.mark.parametrize("name", MIDDLE)
def test_a_frozen_synapse_keeps_no_input(name: str) -> None:
    assert saved_by_freezing(name, 3) == MIDDLE[name]


@pytest.mark.parametrize("name", LOWEST)
def test_below_all_that_is_trained_nothing_is_kept(name: str) -> None:
    assert saved_by_freezing(name, 0, 1) == LOWEST[name]
    readout = numbers(CHANNELS[-1])
    assert stepped(name, range(10))[0] <= readout + 16 * FLOAT  # and the loss of 3 classes


@pytest.mark.parametrize("name", MIDDLE)
def test_a_frozen_norm_of_constant_statistics_keeps_no_input(name: str) -> None:
    steps = T if name in ("bptt_m", "bptt_s", "rga", "dsr") else 2 if name == "tbptt" else 1
    assert saved_by_freezing(name, 4, evaluated=(4,)) == numbers(6, steps)


def shaped(layer: Callable[[], nn.Module]) -> Callable[[], nn.Sequential]:
    """Return what makes a network with one more layer of maps ``[B, 4, 6, 6]`` to 6 channels."""

    def make() -> nn.Sequential:
        model = net(norms=False)
        torch.manual_seed(3)
        model[3] = layer().double()
        return model

    return make


ODD: dict[str, Callable[[], nn.Module]] = {
    "reflecting": lambda: nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"),
    "same": lambda: nn.Conv2d(4, 6, 3, padding="same"),
    "same, asymmetric": lambda: nn.Conv2d(4, 6, 2, padding="same"),
    "valid": lambda: nn.Conv2d(4, 6, 1, padding="valid"),
    "grouped": lambda: nn.Conv2d(4, 6, 3, padding=1, groups=2),
    "transposed": lambda: nn.ConvTranspose2d(4, 6, 3, padding=1),
    "transposed, strided": lambda: nn.Sequential(
        nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1), nn.AvgPool2d(2)
    ),
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("name", ["bptt_m", "bptt_s", "sltt", "ottt_a", "rate_m"])
def test_convolutions_of_all_kinds_keep_no_input(name: str, kind: str) -> None:
    fallen = saved_by_freezing(name, 3, make=shaped(ODD[kind]))
    assert fallen >= MIDDLE[name], fallen


@pytest.mark.parametrize("name", ["bptt_m", "bptt_s", "sltt", "ottt_a", "rate_m"])
def test_a_layer_may_be_frozen_and_thawed_after_bind(name: str) -> None:
    whole, want = stepped(name)
    model = net(norms=True)
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(T, B, CHANNELS[0], 6, 6, generator=draw, dtype=torch.float64)
    case = Problem(model, x, torch.arange(B))
    bound = ratebp.methods.get(name).bind(model, T)
    for thawed, bytes_kept in ((False, whole - MIDDLE[name]), (True, whole)):
        model[3].weight.requires_grad_(thawed)  # type: ignore[union-attr]
        model.zero_grad()
        context = Watched(case)
        bound.step(case.x, case.y, context=context)
        assert context.saved.nbytes == bytes_kept
        for each, parameter in model.named_parameters():
            if each == "3.weight" and not thawed:
                assert parameter.grad is None
            else:
                assert parameter.grad is not None, each
                assert torch.equal(parameter.grad, want[each]), each
