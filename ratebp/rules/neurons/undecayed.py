"""How a LIF with an undecayed reset runs over time, with exact gradients."""

from __future__ import annotations

from torch import Tensor

from ratebp.neurons import UndecayedLIF
from ratebp.ops.undecayed import undecayed_scan, undecayed_step
from ratebp.rules.neurons.lif import StepLIF
from ratebp.views import Leaf


class ScanUndecayed(Leaf):
    """All time steps at once: folded current ``[T*B, ...]`` to folded spikes."""

    def __init__(self, neuron: UndecayedLIF, timesteps: int) -> None:
        """Take the constants of `neuron`."""
        super().__init__()
        self.charging = neuron.charging
        self.timesteps = timesteps

    def forward(self, current: Tensor) -> Tensor:
        """Return spikes, shape of `current`."""
        steps = current.unflatten(0, (self.timesteps, -1))
        return undecayed_scan(steps, self.charging).flatten(0, 1)


class StepUndecayed(StepLIF):
    """One time step a call, ``[B, ...]``; its state is the potential, as that of a LIF."""

    def __init__(self, neuron: UndecayedLIF) -> None:
        """Take the constants of `neuron`, at rest."""
        Leaf.__init__(self)
        self.charging = neuron.charging
        self.potential = None

    def forward(self, current: Tensor) -> Tensor:
        """Return the spikes of this step, shape of `current`."""
        spikes, self.potential = undecayed_step(current, self.potential, self.charging)
        return spikes
