"""Do two sides compute the same step? Asked before anything is timed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.peers.sides import Side
from harness.errors import HarnessError

EXACT = 1e-6
"""Largest relative error of a gradient in float64, where rounding is far below it."""

ROUNDED = 1e-3
"""Largest relative error of a gradient in float32, where no spike flipped.

Two programs that round differently part where a potential meets the threshold; in a deep network
one spike that flipped early flips so many behind it that the gradients have little in common. So
equality is shown in float64, where rounding flips nothing, and in float32 on the first of a few
small batches on which nothing happens to flip: another rule or a wrong kernel has no such batch.
"""


class UnequalError(HarnessError):
    """The two sides do not compute the same step, so no ratio of theirs means anything."""


@dataclass(frozen=True)
class Agreement:
    """How far two sides agree.

    Attributes:
        layers, spikes: how many spiking layers, and how many spikes and silences were compared.
        least_equal: the least share of equal ones in a layer, and that layer.
        worst: the largest relative error of a parameter's gradient, and that parameter.
        cosine: between the two whole gradients.
    """

    layers: int
    spikes: int
    least_equal: tuple[float, str]
    worst: tuple[float, str]
    cosine: float


def agreement(ours: Side, theirs: Side) -> Agreement:
    """Compare the spikes and the gradient of one step; both sides' gradients are zero after it.

    Raises:
        UnequalError: if the sides differ in the number or shape of layers.
    """
    mine, other = ours.spikes(), theirs.spikes()
    if len(mine) != len(other):
        raise UnequalError(f"{theirs.label} has {len(other)} spiking layers, ours {len(mine)}")
    shares = []
    for (path, a), b in zip(mine.items(), other.values(), strict=True):
        if a.shape != b.shape:
            raise UnequalError(
                f"{theirs.label}: spikes of {path} are {tuple(b.shape)}, ours {tuple(a.shape)}"
            )
        shares.append((float((a == b.to(a.dtype)).double().mean()), path))
    gradients = _gradients(ours), _gradients(theirs)
    errors, products = [], [0.0, 0.0, 0.0]
    for name, a, b in zip((n for n, _ in ours.model.named_parameters()), *gradients, strict=True):
        errors.append((float((a - b).norm()) / max(float(a.norm()), 1e-300), name))
        products = [
            total + float((x * y).sum())
            for total, (x, y) in zip(products, ((a, b), (a, a), (b, b)), strict=True)
        ]
    cosine = products[0] / max(math.sqrt(products[1] * products[2]), 1e-300)
    compared = sum(a.numel() for a in mine.values())
    return Agreement(len(mine), compared, min(shares), max(errors), cosine)


def demand_equal(found: Agreement, theirs: str) -> None:
    """Refuse sides that differ in float64.

    Raises:
        UnequalError: says where.
    """
    share, layer = found.least_equal
    error, name = found.worst
    if share < 1 or not error <= EXACT:
        where = f"spikes of layer {layer} agree in {share:.6%}; " if share < 1 else ""
        raise UnequalError(
            f"no ratio: {theirs} computes another step than ours, in float64. {where}the gradient "
            f"of {name} is off by {error:.2e} of its norm (legal: {EXACT:g}), cosine "
            f"{found.cosine:.6f}"
        )


def demand_near(errors: Sequence[float], theirs: str) -> None:
    """Refuse sides whose gradients agree on none of several batches in float32.

    Raises:
        UnequalError: says how near they came.
    """
    if not min(errors) <= ROUNDED:
        raise UnequalError(
            f"no ratio: {theirs} computes another step than ours, in float32: on {len(errors)} "
            f"small batches a gradient was off by {min(errors):.2e} of its norm or more (legal on "
            f"one: {ROUNDED:g})"
        )


def _gradients(side: Side) -> list[Tensor]:
    """One step's gradients in float64; `.grad` is zero before and after."""
    side.optimizer.zero_grad(set_to_none=False)
    side.gradient()
    found = []
    for name, parameter in side.model.named_parameters():
        if parameter.grad is None:
            raise UnequalError(f"{side.label} gives {name} no gradient")
        found.append(parameter.grad.to(torch.float64, copy=True))
    side.optimizer.zero_grad(set_to_none=False)
    return found
