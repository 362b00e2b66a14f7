"""Inference: ordinary spiking dynamics, no method."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ratebp.checks import of_samples, refuse_inputs, refuse_model
from ratebp.errors import BindError
from ratebp.inputs import Given, gathered
from ratebp.needs import Need
from ratebp.neurons import Neuron
from ratebp.reader import Reader
from ratebp.roles import Role
from ratebp.rules.neurons.exact import scan_neuron, step_neuron
from ratebp.rules.norms.temporal import norm_rule
from ratebp.schedules import layer_by_layer
from ratebp.structures import Output, mapped, mean_of
from ratebp.views import Leaf, Rule, View, view


def infer(model: nn.Module, x: Given) -> Output:
    """Return the mean logits of the spiking network in eval mode, without a graph.

    Norms use their running statistics and dropout is off, whatever the model's training flag says;
    the model is not changed. Memory does not grow with T, unless a neuron sees the whole sequence
    (PSN): then all layers run over all steps at once.

    Args:
        model: a spiking model for one time step.
        x: inputs, time-major ``[T, B, ...]``: one tensor, or for a forward that takes several a
            tuple or a list of them in its order, or a dict by its parameters' names.

    Returns:
        Mean over the steps of the outputs, ``[B, K]``; of each member where the model returns a
        tuple, a list or a dict.

    Raises:
        BindError: for a norm or a neuron with parameters of another number of time steps, for a
            model that no view can stand for or that calls a neuron twice, and for an output that is
            no tensor ``[B, ...]`` and no structure of such.
        OptionError: for an input without a time step or a sample, or of a type that the model
            cannot take.
    """
    refuse_model(model)
    given = gathered(x)
    refuse_inputs(model, given)
    if not all("single" in m.layouts for m in model.modules() if isinstance(m, Neuron)):
        return _whole(model, given)
    rules: dict[Role, Rule] = {
        Role.NEURON: lambda neuron, _: step_neuron(neuron),
        Role.NORM: norm_rule("single", given.shape[0]),
    }
    return mean_logits(view(model, rules, builds_graph=False), given)


def _whole(model: nn.Module, x: Tensor) -> Output:
    steps = x.shape[0]
    rules: dict[Role, Rule] = {
        Role.NEURON: lambda neuron, _: scan_neuron(neuron, steps),
        Role.NORM: norm_rule("multi", steps),
    }
    Reader(model, "a neuron of all time steps", {Need.SAMPLES, Need.STILL}).sees(x)
    net = view(model, rules, builds_graph=False)
    net.module.eval()
    with torch.no_grad():
        return of_samples(mean_of(layer_by_layer(net, x)), x.shape[1])


def mean_logits(net: View, x: Tensor) -> Output:
    """Run a single-step view in eval mode, without a graph; return the mean logits ``[B, K]``.

    The view stays in eval mode until it is refreshed.
    """
    net.module.eval()
    first, *others = x.unbind(0)
    with torch.no_grad(), net.sequence():
        with _refusing_second_calls(net.module):
            total = of_samples(net(first), len(first))
        for now in others:
            total = mapped(torch.add, total, of_samples(net(now), len(now)))
    return mapped(lambda each: each / x.shape[0], total)


@contextmanager
def _refusing_second_calls(net: nn.Module) -> Iterator[None]:
    """Refuse a leaf with a state that runs twice in one time step: inference reads no graph."""
    calls: Counter[str] = Counter()

    def count(path: str) -> Callable[[nn.Module, Any], None]:
        def called(leaf: nn.Module, inputs: Any) -> None:
            calls[path] += 1
            if calls[path] > 1:
                raise BindError(
                    f"`{path}` is called twice in one forward, but it keeps one state. Give each "
                    "place its own module (two LIF() objects, not one used twice); a forward is "
                    "written for one time step, so take out a loop over time."
                )

        return called

    kept = [
        leaf.register_forward_pre_hook(count(path))
        for path, leaf in net.named_modules()
        if isinstance(leaf, Leaf) and leaf.stateful
    ]
    try:
        yield
    finally:
        for each in kept:
            each.remove()
