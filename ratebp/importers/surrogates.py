"""Which surrogate a foreign spike function has: read from its values, not from its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ratebp.surrogates import Surrogate, names

_ALPHAS: dict[str, Callable[[float, float], float]] = {
    "sigmoid": lambda peak, at_one: 4 * peak,
    "triangle": lambda peak, at_one: peak,
    "atan": lambda peak, at_one: 2 * peak,
    "rectangle": lambda peak, at_one: peak,
    "fast_sigmoid": lambda peak, at_one: at_one**-0.5 - 1 if at_one > 0 else 0.0,
}
"""The sharpness of each shape, from its derivative at 0 and at 1."""

SCALING = ("sigmoid", "triangle", "atan", "rectangle")
"""Shapes of one area: h of alpha / k at k x, times k, is h of alpha at x."""

_DIGITS, _RTOL = 6, 1e-5


def surrogate_of(function: Callable[[Tensor], Any]) -> Surrogate | None:
    """Return the surrogate of ours that has the derivative of `function`, None if none has.

    Args:
        function: takes the potential minus the threshold, any shape; gives spikes.
    """
    grid = torch.linspace(-3, 3, 601, dtype=torch.float64) + 1e-4  # beside the edges of rectangles
    x = torch.cat([grid, torch.tensor([0.0, 1.0], dtype=torch.float64)]).requires_grad_()
    spikes = function(x)
    if not isinstance(spikes, Tensor) or not spikes.requires_grad:
        return None
    (h,) = torch.autograd.grad(spikes.sum(), x)
    peak, at_one = h[-2:].tolist()
    for name in names():
        alpha = float(f"{_ALPHAS[name](peak, at_one):.{_DIGITS}g}")
        if alpha <= 0 or alpha == float("inf"):
            continue
        ours = Surrogate(name, alpha)
        if torch.allclose(ours.derivative(x.detach())[:-1], h[:-1].to(x), rtol=_RTOL, atol=1e-9):
            return ours
    return None


def fires(function: Callable[[Tensor], Tensor]) -> str:
    """Return how `function` fires: ">=", ">" or "" where it gives no spikes of 0 and 1."""
    with torch.no_grad():
        x = torch.tensor([-1.0, -1e-6, 0.0, 1e-6, 1.0], dtype=torch.float64)
        spikes = function(x).tolist()
    return {(0, 0, 1, 1, 1): ">=", (0, 0, 0, 1, 1): ">"}.get(tuple(spikes), "")
