"""Which leaf runs a neuron exactly: all time steps at once, or step by step.

One table a layout, by the neuron's class. A new neuron is registered here and is then trained by
every exact method and run by `infer`.
"""

from __future__ import annotations

from functools import singledispatch

import torch
from torch import Tensor, nn

from ratebp.errors import BindError
from ratebp.neurons import (
    ALIF,
    LI,
    LIF,
    PLIF,
    PSN,
    TLIF,
    Delay,
    HeterogeneousLIF,
    Recurrent,
    SlidingPSN,
    UndecayedLIF,
)
from ratebp.rules.neurons.delay import StepDelay
from ratebp.rules.neurons.heterogeneous import StepHeterogeneousLIF, StepLI
from ratebp.rules.neurons.lif import ScanLIF, StepLIF
from ratebp.rules.neurons.others import (
    ParallelPSN,
    ScanALIF,
    ScanPLIF,
    SlidingScan,
    SlidingStep,
    StepALIF,
    StepPLIF,
    StepTLIF,
)
from ratebp.rules.neurons.recurrent import StepRecurrent
from ratebp.rules.neurons.undecayed import ScanUndecayed, StepUndecayed
from ratebp.views import Leaf


class Looped(Leaf):
    """All time steps of one layer, folded ``[T*B, ...]``: a loop, one sequence a call."""

    def __init__(self, step: Leaf, timesteps: int) -> None:
        """Take the leaf that runs one time step."""
        super().__init__()
        self.one = step
        self.timesteps = timesteps

    def forward(self, current: Tensor) -> Tensor:
        """Return spikes, shape of `current`."""
        steps = current.unflatten(0, (self.timesteps, -1)).unbind(0)
        self.one.reset()
        spikes = torch.stack([self.one(now) for now in steps]).flatten(0, 1)
        self.one.reset()
        return spikes


@singledispatch
def scan_neuron(neuron: nn.Module, timesteps: int) -> Leaf:
    """Return the leaf that runs `neuron` over all `timesteps` at once, folded ``[T*B, ...]``.

    Raises:
        BindError: for a neuron that has no such leaf, or is made for another T.
    """
    raise BindError(
        f"no rule runs the neuron {type(neuron).__name__} over all time steps at once. Register "
        "one with ratebp.rules.neurons.exact.scan_neuron, or use a neuron of ratebp.neurons."
    )


@singledispatch
def step_neuron(neuron: nn.Module) -> Leaf:
    """Return the leaf that runs `neuron` one time step a call, ``[B, ...]``.

    Raises:
        BindError: for a neuron that has no such leaf.
    """
    raise BindError(
        f"no rule runs the neuron {type(neuron).__name__} step by step. Train with bptt_m if it "
        "sees the whole sequence, or use LIF, PLIF, ALIF or SlidingPSN of ratebp."
    )


@scan_neuron.register
def _(neuron: LIF, timesteps: int) -> Leaf:
    return ScanLIF(neuron, timesteps)


@scan_neuron.register
def _(neuron: PLIF, timesteps: int) -> Leaf:
    return ScanPLIF(neuron, timesteps)


@scan_neuron.register
def _(neuron: UndecayedLIF, timesteps: int) -> Leaf:
    return ScanUndecayed(neuron, timesteps)


@scan_neuron.register
def _(neuron: ALIF, timesteps: int) -> Leaf:
    return ScanALIF(neuron, timesteps)


@scan_neuron.register
def _(neuron: PSN, timesteps: int) -> Leaf:
    return ParallelPSN(neuron, timesteps)


@scan_neuron.register
def _(neuron: SlidingPSN, timesteps: int) -> Leaf:
    return SlidingScan(neuron, timesteps)


@scan_neuron.register
def _(neuron: TLIF, timesteps: int) -> Leaf:
    return Looped(StepTLIF(neuron), timesteps)


@scan_neuron.register
def _(neuron: Recurrent, timesteps: int) -> Leaf:
    return Looped(StepRecurrent(neuron, step_neuron(neuron.neuron)), timesteps)


@scan_neuron.register
def _(neuron: HeterogeneousLIF, timesteps: int) -> Leaf:
    return Looped(StepHeterogeneousLIF(neuron), timesteps)


@scan_neuron.register
def _(neuron: LI, timesteps: int) -> Leaf:
    return Looped(StepLI(neuron), timesteps)


@step_neuron.register
def _(neuron: HeterogeneousLIF) -> Leaf:
    return StepHeterogeneousLIF(neuron)


@step_neuron.register
def _(neuron: LI) -> Leaf:
    return StepLI(neuron)


@step_neuron.register
def _(neuron: LIF) -> Leaf:
    return StepLIF(neuron)


@step_neuron.register
def _(neuron: PLIF) -> Leaf:
    return StepPLIF(neuron)


@step_neuron.register
def _(neuron: UndecayedLIF) -> Leaf:
    return StepUndecayed(neuron)


@step_neuron.register
def _(neuron: ALIF) -> Leaf:
    return StepALIF(neuron)


@step_neuron.register
def _(neuron: SlidingPSN) -> Leaf:
    return SlidingStep(neuron)


@step_neuron.register
def _(neuron: TLIF) -> Leaf:
    return StepTLIF(neuron)


@step_neuron.register
def _(neuron: Recurrent) -> Leaf:
    return StepRecurrent(neuron, step_neuron(neuron.neuron))


@step_neuron.register
def _(neuron: Delay) -> Leaf:
    return StepDelay()
