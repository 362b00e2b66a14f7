"""How a LIF layer runs over time."""

from __future__ import annotations

from torch import Tensor, nn

from ratebp.errors import BindError
from ratebp.neurons import LIF
from ratebp.ops import every_step, lif_scan, lif_step
from ratebp.views import Folded, Leaf


class ScanLIF(Folded):
    """All time steps at once: folded current ``[T*B, ...]`` to folded spikes, exact gradient."""

    def __init__(self, lif: LIF, timesteps: int) -> None:
        """Take the constants of `lif`."""
        super().__init__()
        self.dynamics = lif.dynamics
        self.timesteps = timesteps

    def forward(self, current: Tensor) -> Tensor:
        """Return spikes, shape of `current`."""
        steps = every_step(self.steps(current), self.timesteps)
        return lif_scan(steps, self.dynamics).flatten(0, 1)


class StepLIF(Leaf):
    """One time step a call, ``[B, ...]``; the graph reaches through the potential."""

    stateful = True

    def __init__(self, lif: LIF) -> None:
        """Take the constants of `lif`, at rest."""
        super().__init__()
        self.dynamics = lif.dynamics
        self.potential: Tensor | None = None

    def forward(self, current: Tensor) -> Tensor:
        """Return the spikes of this step, shape of `current`."""
        spikes, self.potential = lif_step(current, self.potential, self.dynamics)
        return spikes

    def reset(self) -> None:
        """Go back to rest."""
        self.potential = None

    def detach(self) -> None:
        """Cut the graph to earlier time steps."""
        if self.potential is not None:
            self.potential = self.potential.detach()


class DetachedLIF(StepLIF):
    """One time step a call, without any gradient through time (SLTT, OTTT)."""

    def forward(self, current: Tensor) -> Tensor:
        """Return the spikes of this step, shape of `current`."""
        spikes = super().forward(current)
        self.detach()
        return spikes


def refuse_hard_reset(method: str, model: nn.Module) -> None:
    """Check that spikes count what was subtracted, on which a rate as a function of current rests.

    Raises:
        BindError: for a neuron with the hard reset, by place.
    """
    for path, module in model.named_modules():
        if isinstance(module, LIF) and module.dynamics.reset != "soft":
            raise BindError(
                f"{method} cannot train the neuron `{path}` with reset="
                f"{module.dynamics.reset!r}: its rate is a function of its mean current only if a "
                "spike subtracts the threshold. Use reset='soft', or train with rga, rate_m or "
                "bptt_m."
            )
