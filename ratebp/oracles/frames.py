"""Networks without time: one pass over one frame, or over every frame alike."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ratebp.neurons import LIF
from ratebp.oracles.hand import FunctionNeuron, Gradients, Loss, gradients, swapped


def rectifiers(model: nn.Module, x: Tensor, y: Tensor, loss: Loss) -> Gradients:
    """Return the gradients of a network of torch's ReLU on the mean of the input's steps."""
    net = swapped(model, LIF, lambda lif, path: nn.ReLU())
    return gradients(net, loss(net(x.mean(0)), y))


def rectifiers_on_each_step(model: nn.Module, x: Tensor, y: Tensor, loss: Loss) -> Gradients:
    """Return the gradients of a network of torch's ReLU that sees every step of the input."""
    net = swapped(model, LIF, lambda lif, path: nn.ReLU())
    return gradients(net, loss(net(x.flatten(0, 1)).unflatten(0, x.shape[:2]).mean(0), y))


def one_step(model: nn.Module, x: Tensor, y: Tensor, loss: Loss) -> Gradients:
    """Return the gradients of a single step from rest on the mean of the input's steps."""

    def neuron(lif: LIF, path: str) -> nn.Module:
        d = lif.dynamics

        def f(u: Tensor) -> tuple[Tensor, Tensor]:
            return (u >= d.threshold).to(u.dtype), d.surrogate.derivative(u - d.threshold)

        return FunctionNeuron(f)

    net = swapped(model, LIF, neuron)
    return gradients(net, loss(net(x.mean(0)), y))


def rounded_levels(model: nn.Module, x: Tensor, y: Tensor, loss: Loss) -> Gradients:
    """Return the gradients of one pass of activations that are rounded down to T levels."""
    levels = len(x)

    def neuron(lif: LIF, path: str) -> nn.Module:
        threshold = lif.dynamics.threshold

        def f(u: Tensor) -> tuple[Tensor, Tensor]:
            level = torch.floor(levels * u / threshold).clamp(0, levels)
            return level / levels, ((u >= 0) & (u <= threshold)).to(u.dtype) / threshold

        return FunctionNeuron(f)

    net = swapped(model, LIF, neuron)
    return gradients(net, loss(net(x.mean(0)), y))
