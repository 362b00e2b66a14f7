"""Networks of mean rates: a pass of spikes, then one of their means with a slope a neuron."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ratebp.dynamics import Dynamics
from ratebp.neurons import LIF
from ratebp.oracles.hand import (
    FunctionNeuron,
    Gradients,
    Loss,
    OverTime,
    fading,
    gradients,
    swapped,
    weighted,
)


class _Noted(nn.Module):
    """A norm that notes mean and variance of its input over T*B."""

    def __init__(self, norm: _BatchNorm, note: Callable[[Tensor, Tensor], None]) -> None:
        super().__init__()
        self.norm, self.note = norm, note

    def forward(self, c: Tensor) -> Tensor:
        others = [d for d in range(c.dim()) if d != 1]
        self.note(c.mean(others), c.var(others, unbiased=False))
        out: Tensor = self.norm(c)
        return out


class _MeanRateNorm(nn.Module):
    """A norm of mean rates: the spikes' statistics, with the derivatives of the rates' own."""

    def __init__(self, norm: _BatchNorm, mean: Tensor, variance: Tensor) -> None:
        super().__init__()
        self.weight, self.bias, self.eps, self.trains = (
            norm.weight,
            norm.bias,
            norm.eps,
            norm.training,
        )
        if not norm.training:
            assert norm.running_mean is not None
            assert norm.running_var is not None
            mean, variance = norm.running_mean, norm.running_var
        self.mean, self.variance = mean, variance

    def forward(self, c: Tensor) -> Tensor:
        others = [d for d in range(c.dim()) if d != 1]
        shape = [-1 if d == 1 else 1 for d in range(c.dim())]
        mean, variance = self.mean.view(shape), self.variance.view(shape)
        if self.trains:
            own = c.mean(others, keepdim=True)
            mean = own + (mean - own).detach()
            own = ((c - mean) ** 2).mean(others, keepdim=True)
            variance = own + (variance - own).detach()
        xhat = (c - mean) / torch.sqrt(variance + self.eps)
        return xhat * self.weight.view(shape) + self.bias.view(shape)


Slope = Callable[[Tensor, Tensor, Tensor, Dynamics], Tensor]


def _rates(
    model: nn.Module, x: Tensor, y: Tensor, loss: Loss, weights: list[float], slope: Slope
) -> Gradients:
    """Return the gradients of a network of mean rates, weighted over time."""
    notes: dict[str, tuple[Tensor, Tensor]] = {}

    def neuron(lif: LIF, path: str) -> nn.Module:
        def f(currents: Tensor, u: Tensor, spikes: Tensor, d: Dynamics) -> Tensor:
            notes[path] = weighted(weights, spikes), slope(currents, u, spikes, d)
            return spikes

        return OverTime(lif, len(x), f)

    def noted(norm: _BatchNorm, path: str) -> nn.Module:
        return _Noted(norm, lambda mean, variance: notes.update({path: (mean, variance)}))

    with torch.no_grad():
        swapped(swapped(model, _BatchNorm, noted), LIF, neuron)(x.flatten(0, 1))
    means = swapped(model, LIF, lambda lif, path: FunctionNeuron(lambda c: notes[path]))
    means = swapped(means, _BatchNorm, lambda norm, path: _MeanRateNorm(norm, *notes[path]))
    return gradients(means, loss(means(weighted(weights, x)), y))


def rectified_rates(model: nn.Module, x: Tensor, y: Tensor, loss: Loss) -> Gradients:
    """Return the gradients of a rectifier network whose values are the spiking one's mean rates."""

    def slope(currents: Tensor, u: Tensor, spikes: Tensor, d: Dynamics) -> Tensor:
        return (currents.sum(0) > 0).to(u.dtype) / d.threshold

    return _rates(model, x, y, loss, [1 / len(x)] * len(x), slope)


def measured_rates(model: nn.Module, x: Tensor, y: Tensor, loss: Loss) -> Gradients:
    """Return the gradients of a network of mean rates, each slope summed up over the spikes.

    ::

        g = (1/T) sum_t h'(u[t]) rho[t],   rho[1] = 1,   rho[t+1] = 1 + rho[t] d u[t+1] / d u[t]
    """

    def slope(currents: Tensor, u: Tensor, spikes: Tensor, d: Dynamics) -> Tensor:
        total, rho = torch.zeros_like(u[0]), torch.ones_like(u[0])
        for now, s in zip(u, spikes, strict=True):
            h = d.surrogate.derivative(now - d.threshold)
            total = total + h * rho / len(u)
            by_spike = 0 if d.detach_reset else h * (now if d.reset == "hard" else d.threshold)
            rho = 1 + rho * d.decay * ((1 - s if d.reset == "hard" else 1) - by_spike)
        return total

    return _rates(model, x, y, loss, [1 / len(x)] * len(x), slope)


def rates_with_the_last_slope(model: nn.Module, x: Tensor, y: Tensor, loss: Loss) -> Gradients:
    """Return the gradients of a network of fading mean rates, with the slopes of the last step."""
    decay = next(m.dynamics.decay for m in model.modules() if isinstance(m, LIF))

    def slope(currents: Tensor, u: Tensor, spikes: Tensor, d: Dynamics) -> Tensor:
        return d.surrogate.derivative(u[-1] - d.threshold)

    return _rates(model, x, y, loss, fading(decay, len(x)), slope)
