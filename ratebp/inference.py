"""Inference: ordinary spiking dynamics, no method."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ratebp.roles import Role
from ratebp.rules import StepLIF
from ratebp.views import view


def infer(model: nn.Module, x: Tensor) -> Tensor:
    """Return the mean logits of the spiking network in eval mode, without a graph.

    Norms use their running statistics and dropout is off, whatever the model's training flag says;
    the model is not changed. Memory does not grow with T.

    Args:
        model: a spiking model for one time step.
        x: inputs, time-major ``[T, B, ...]``.

    Returns:
        Mean over the steps of the outputs, ``[B, K]``.
    """
    spiking = view(model, {Role.NEURON: lambda lif, _: StepLIF(lif)}, builds_graph=False)
    spiking.module.eval()
    total: Tensor | None = None
    with torch.no_grad(), spiking.sequence():
        for now in x.unbind(0):
            out = spiking(now)
            total = out if total is None else total + out
    assert total is not None
    return total / x.shape[0]
