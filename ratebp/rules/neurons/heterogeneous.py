"""How neurons with decays of their own run over time, with exact gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from ratebp.neurons import LI, HeterogeneousLIF
from ratebp.ops.plif import plif_step
from ratebp.rules.handover import widened
from ratebp.rules.neurons.lif import StepLIF
from ratebp.views import Leaf


class StepHeterogeneousLIF(StepLIF):
    """One time step a call, ``[B, ...]``; its state is the potential, as that of a LIF."""

    def __init__(self, neuron: HeterogeneousLIF) -> None:
        """Take the neuron, at rest."""
        Leaf.__init__(self)
        self.neuron = neuron
        self.potential = None

    def forward(self, current: Tensor) -> Tensor:
        """Return the spikes of this step, shape of `current`."""
        share, undecayed = self.neuron.share(current), self.neuron.undecayed
        spikes, self.potential = plif_step(current, self.potential, share, undecayed)
        return spikes


class StepLI(Leaf):
    """One time step of a leaky integrator a call, ``[B, ...]``."""

    stateful = True

    def __init__(self, neuron: LI) -> None:
        """Take the neuron, at rest."""
        super().__init__()
        self.neuron = neuron
        self.potential: Tensor | None = None

    def forward(self, current: Tensor) -> Tensor:
        """Return the potential after this step, shape and type of `current`."""
        wide = widened(current.dtype)
        share = self.neuron.share(current).to(wide)
        last = self.potential
        u = share * current.to(wide)
        self.potential = u if last is None else torch.addcmul(u, 1 - share, last)
        # A copy, so that a model which changes it in place does not change what is kept.
        return self.potential.to(current.dtype, copy=True)

    def reset(self) -> None:
        """Go back to rest."""
        self.potential = None

    def detach(self) -> None:
        """Cut the graph to earlier time steps."""
        if self.potential is not None:
            self.potential = self.potential.detach()
