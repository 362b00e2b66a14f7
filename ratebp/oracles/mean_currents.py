"""Spikes forward, and a backward by a closed form of mean currents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ratebp.dynamics import Dynamics
from ratebp.neurons import LIF
from ratebp.oracles.hand import (
    Gradients,
    Loss,
    OverTime,
    fading,
    given,
    gradients,
    swapped,
    weighted,
)


class _Closed(torch.autograd.Function):
    """Spikes ``[T, B, ...]``; ``dI[t] = slope sum_k w[k] ds[k]`` for every t."""

    @staticmethod
    def forward(
        ctx: Any, currents: Tensor, spikes: Tensor, slope: Tensor, weights: list[float]
    ) -> Tensor:
        ctx.save_for_backward(slope)
        ctx.weights = weights
        return spikes.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        each = ctx.saved_tensors[0] * weighted(ctx.weights, grads[0])
        return torch.stack([each] * len(grads[0])), None, None, None


def _closed(currents: Tensor, spikes: Tensor, slope: Tensor, weights: list[float]) -> Tensor:
    out: Tensor = _Closed.apply(currents, spikes, slope, weights)  # type: ignore[no-untyped-call]
    return out


def _over_time(
    model: nn.Module, x: Tensor, y: Tensor, loss: Loss, f: Callable[..., Tensor]
) -> Gradients:
    net = swapped(model, LIF, lambda lif, path: OverTime(lif, len(x), f))
    return gradients(net, loss(net(x.flatten(0, 1)).unflatten(0, x.shape[:2]).mean(0), y))


def clipped_rates(model: nn.Module, x: Tensor, y: Tensor, loss: Loss) -> Gradients:
    """Return the gradients of rates that are clipped means of currents, late ones weighing most.

    ::

        v = sum_t w[t] I[t],  w[t] ~ decay^(T-t),   dr/dv = 1/threshold where 0 < v < threshold
    """

    def f(currents: Tensor, u: Tensor, spikes: Tensor, d: Dynamics) -> Tensor:
        weights = fading(d.decay, len(currents))
        v = weighted(weights, currents.detach())
        slope = ((v > 0) & (v < d.threshold)).to(v.dtype) / d.threshold
        return _closed(currents, spikes, slope, weights)

    return _over_time(model, x, y, loss, f)


def evenly_clipped_rates(model: nn.Module, x: Tensor, y: Tensor, loss: Loss) -> Gradients:
    """Return the gradients of rates that are clipped means of currents, all weighing alike."""

    def f(currents: Tensor, u: Tensor, spikes: Tensor, d: Dynamics) -> Tensor:
        v = currents.detach().sum(0) / len(currents)
        slope = ((v >= 0) & (v <= d.threshold)).to(v.dtype) / d.threshold
        return _closed(currents, spikes, slope, [1 / len(currents)] * len(currents))

    return _over_time(model, x, y, loss, f)


def curve_of_mean_current(model: nn.Module, x: Tensor, y: Tensor, loss: Loss) -> Gradients:
    """Return the gradients with one slope a neuron, RGA's curve at its mean current.

    ::

        0.2 on [0, 1 - tau),   (0.8 + 0.2 tau) / (1 + tau) on [1 - tau, 2],   0 elsewhere
    """

    def f(currents: Tensor, u: Tensor, spikes: Tensor, d: Dynamics) -> Tensor:
        z = currents.detach().sum(0) / (len(currents) * d.threshold)
        steep = (0.8 + 0.2 * d.decay) / (1 + d.decay)
        slope = torch.full_like(z, steep)
        slope[z < 1 - d.decay] = 0.2
        slope[(z < 0) | (z > 2)] = 0
        slope = slope / d.threshold
        return given(currents, spikes, slope.expand_as(currents))

    return _over_time(model, x, y, loss, f)
