"""Inference: ordinary spiking dynamics, no method."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ratebp.checks import of_samples, refuse_inputs, refuse_model
from ratebp.neurons import Neuron
from ratebp.roles import Role
from ratebp.rules.exact import scan_neuron, step_neuron
from ratebp.rules.norm_time import norm_rule
from ratebp.schedules import layer_by_layer
from ratebp.views import Rule, View, view


def infer(model: nn.Module, x: Tensor) -> Tensor:
    """Return the mean logits of the spiking network in eval mode, without a graph.

    Norms use their running statistics and dropout is off, whatever the model's training flag says;
    the model is not changed. Memory does not grow with T, unless a neuron sees the whole sequence
    (PSN): then all layers run over all steps at once.

    Args:
        model: a spiking model for one time step.
        x: inputs, time-major ``[T, B, ...]``.

    Returns:
        Mean over the steps of the outputs, ``[B, K]``.

    Raises:
        BindError: for a norm or a neuron with parameters of another number of time steps, and for a
            model that no view can stand for, or whose output is not one tensor ``[B, ...]``.
        OptionError: for an input without a time step or a sample, or of a type that the model
            cannot take.
    """
    refuse_model(model)
    refuse_inputs(model, x)
    if not all("single" in m.layouts for m in model.modules() if isinstance(m, Neuron)):
        return _whole(model, x)
    rules: dict[Role, Rule] = {
        Role.NEURON: lambda neuron, _: step_neuron(neuron),
        Role.NORM: norm_rule("single", x.shape[0]),
    }
    return mean_logits(view(model, rules, builds_graph=False), x)


def _whole(model: nn.Module, x: Tensor) -> Tensor:
    steps = x.shape[0]
    rules: dict[Role, Rule] = {
        Role.NEURON: lambda neuron, _: scan_neuron(neuron, steps),
        Role.NORM: norm_rule("multi", steps),
    }
    net = view(model, rules, builds_graph=False)
    net.module.eval()
    with torch.no_grad():
        return of_samples(torch.stack(layer_by_layer(net, x)).mean(0), x.shape[1])


def mean_logits(net: View, x: Tensor) -> Tensor:
    """Run a single-step view in eval mode, without a graph; return the mean logits ``[B, K]``.

    The view stays in eval mode until it is refreshed.
    """
    net.module.eval()
    total: Tensor | None = None
    with torch.no_grad(), net.sequence():
        for now in x.unbind(0):
            out = of_samples(net(now), len(now))
            total = out if total is None else total + out
    assert total is not None  # `refuse_inputs` wants a step
    return total / x.shape[0]
