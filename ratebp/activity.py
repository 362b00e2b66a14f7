"""How often the neurons of a network fire, by layer and time step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ratebp.errors import OptionError
from ratebp.needs import needs_of
from ratebp.neurons import Delay
from ratebp.reader import Reader
from ratebp.roles import Role
from ratebp.rules.neurons.exact import scan_neuron, step_neuron
from ratebp.rules.norms.temporal import norm_rule
from ratebp.schedules import Forward, layer_by_layer, step_by_step
from ratebp.views import Leaf, Rule, view
from ratebp.wiring import Wiring

_FORWARDS: dict[str, Forward] = {"multi": layer_by_layer, "single": step_by_step}


class _ScanMeter(Leaf):
    """A neuron over all time steps that records its firing rate of each."""

    stateful = True

    def __init__(self, neuron: nn.Module, timesteps: int, rates: list[Tensor]) -> None:
        super().__init__()
        self.leaf = scan_neuron(neuron, timesteps)
        self.timesteps = timesteps
        self.rates = rates

    def forward(self, current: Tensor) -> Tensor:
        spikes: Tensor = self.leaf(current)
        steps = spikes.unflatten(0, (self.timesteps, -1))
        self.rates.extend(steps.flatten(1).mean(1, dtype=torch.float64).unbind(0))
        return spikes


class _StepMeter(Leaf):
    """A neuron of one time step a call that records its firing rate."""

    stateful = True

    def __init__(self, neuron: nn.Module, rates: list[Tensor]) -> None:
        super().__init__()
        self.leaf = step_neuron(neuron)
        self.rates = rates

    def forward(self, current: Tensor) -> Tensor:
        spikes: Tensor = self.leaf(current)
        self.rates.append(spikes.mean(dtype=torch.float64))
        return spikes


@contextmanager
def buffers_kept(model: nn.Module) -> Iterator[None]:
    """Restore every buffer of `model` at the end of the block, after an error, too."""
    kept = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        for buffer, before in kept:
            buffer.copy_(before)


def firing_rates(
    model: nn.Module, x: Tensor, *, layout: str = "multi", wiring: Wiring | None = None
) -> dict[str, Tensor]:
    """Return the share of neurons that fire, per spiking layer and time step.

    ::

        r[t] = mean over samples and units of s[t]

    The network runs with the model's own training flags (so with batch statistics while it is in
    training mode) and without a graph. Neither its buffers nor its flags change.

    Args:
        model: a spiking model for one time step.
        x: inputs, time-major ``[T, B, ...]``.
        layout: "multi" takes batch statistics over T*B as `bptt_m` does, "single" over each step as
            `bptt_s` does. Give that of the method that trains the model (its `info.layout`).
        wiring: for models whose forward `torch.fx` cannot trace.

    Returns:
        By path of the `LIF` module, in the model's order: rates in [0, 1], ``[T]``, float64.

    Raises:
        OptionError: for an unknown layout.
        BindError: for a model that cannot be followed, or calls one `LIF` twice a time step, and in
            layout "multi" for one that mixes samples.
    """
    if layout not in _FORWARDS:
        raise OptionError.unknown("layout", layout, _FORWARDS)
    found: dict[str, list[Tensor]] = {}

    def meter(neuron: nn.Module, path: str) -> nn.Module:
        if isinstance(neuron, Delay):
            return step_neuron(neuron)
        rates = found.setdefault(path, [])
        multi = layout == "multi"
        return _ScanMeter(neuron, len(x), rates) if multi else _StepMeter(neuron, rates)

    rules: dict[Role, Rule] = {Role.NEURON: meter, Role.NORM: norm_rule(layout, len(x))}
    reader = Reader(model, f"the {layout}-step forward", needs_of(layout), wiring)
    reader.sees(x)
    metered = view(model, rules, wiring=reader.wiring, builds_graph=False)
    with torch.no_grad(), buffers_kept(model):
        _FORWARDS[layout](metered, x)
    return {path: torch.stack(rates) for path, rates in found.items() if rates}
