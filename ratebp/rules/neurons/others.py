"""How the neurons other than the LIF run over time, with exact gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from ratebp.errors import BindError
from ratebp.neurons import ALIF, PLIF, PSN, TLIF, SlidingPSN
from ratebp.ops.alif import Adaptation, AlifState, alif_scan, alif_step
from ratebp.ops.plif import plif_scan, plif_step
from ratebp.ops.psn import psn
from ratebp.ops.spike import spike
from ratebp.rules.handover import widened
from ratebp.rules.neurons.lif import StepLIF
from ratebp.views import Leaf


class ScanPLIF(Leaf):
    """All time steps at once: folded current ``[T*B, ...]`` to folded spikes."""

    def __init__(self, neuron: PLIF, timesteps: int) -> None:
        """Take the neuron."""
        super().__init__()
        self.neuron = neuron
        self.timesteps = timesteps

    def forward(self, current: Tensor) -> Tensor:
        """Return spikes, shape of `current`."""
        steps = current.unflatten(0, (self.timesteps, -1))
        share = torch.sigmoid(self.neuron.w)
        return plif_scan(steps, share, self.neuron.undecayed).flatten(0, 1)


class StepPLIF(StepLIF):
    """One time step a call, ``[B, ...]``; its state is the potential, as that of a LIF."""

    def __init__(self, neuron: PLIF) -> None:
        """Take the neuron, at rest."""
        Leaf.__init__(self)
        self.neuron = neuron
        self.potential = None

    def forward(self, current: Tensor) -> Tensor:
        """Return the spikes of this step, shape of `current`."""
        share = torch.sigmoid(self.neuron.w)
        spikes, self.potential = plif_step(current, self.potential, share, self.neuron.undecayed)
        return spikes


class ScanALIF(Leaf):
    """All time steps at once: folded current ``[T*B, ...]`` to folded spikes."""

    def __init__(self, neuron: ALIF, timesteps: int) -> None:
        """Take the constants of `neuron`."""
        super().__init__()
        self.charging = neuron.charging
        self.adaptation = Adaptation(neuron.adaptation, neuron.adaptation_decay)
        self.timesteps = timesteps

    def forward(self, current: Tensor) -> Tensor:
        """Return spikes, shape of `current`."""
        steps = current.unflatten(0, (self.timesteps, -1))
        return alif_scan(steps, self.charging, self.adaptation).flatten(0, 1)


class StepALIF(Leaf):
    """One time step a call, ``[B, ...]``."""

    stateful = True

    def __init__(self, neuron: ALIF) -> None:
        """Take the constants of `neuron`, at rest."""
        super().__init__()
        self.charging = neuron.charging
        self.adaptation = Adaptation(neuron.adaptation, neuron.adaptation_decay)
        self.state: AlifState | None = None

    def forward(self, current: Tensor) -> Tensor:
        """Return the spikes of this step, shape of `current`."""
        spikes, self.state = alif_step(current, self.state, self.charging, self.adaptation)
        return spikes

    def reset(self) -> None:
        """Go back to rest."""
        self.state = None

    def detach(self) -> None:
        """Cut the graph to earlier time steps."""
        if self.state is not None:
            self.state = AlifState(*(each.detach() for each in self.state))


class ParallelPSN(Leaf):
    """A PSN or masked PSN, folded ``[T*B, ...]``."""

    def __init__(self, neuron: PSN, timesteps: int) -> None:
        """Take the neuron.

        Raises:
            BindError: when it was made for another T.
        """
        super().__init__()
        if neuron.timesteps != timesteps:
            raise BindError(
                f"{type(neuron).__name__} has weights for {neuron.timesteps} time steps, but T="
                f"{timesteps}. Make it with timesteps={timesteps}, run it with T="
                f"{neuron.timesteps}, or use SlidingPSN, which takes any T."
            )
        self.neuron = neuron

    def forward(self, current: Tensor) -> Tensor:
        """Return spikes, shape of `current`."""
        n = self.neuron
        steps = current.unflatten(0, (n.timesteps, -1))
        return psn(steps, n.mixing(), n.threshold, n.surrogate).flatten(0, 1)


class SlidingScan(Leaf):
    """A sliding PSN over all time steps at once, folded ``[T*B, ...]``."""

    def __init__(self, neuron: SlidingPSN, timesteps: int) -> None:
        """Take the neuron."""
        super().__init__()
        self.neuron = neuron
        self.timesteps = timesteps

    def forward(self, current: Tensor) -> Tensor:
        """Return spikes, shape of `current`."""
        n, t = self.neuron, self.timesteps
        steps = current.unflatten(0, (t, -1))
        return psn(steps, n.mixing(t), n.threshold.expand(t), n.surrogate).flatten(0, 1)


class SlidingStep(Leaf):
    """A sliding PSN one time step a call, ``[B, ...]``; its state are the last currents."""

    stateful = True

    def __init__(self, neuron: SlidingPSN) -> None:
        """Take the neuron, with nothing seen."""
        super().__init__()
        self.neuron = neuron
        self.seen: tuple[Tensor, ...] = ()

    def forward(self, current: Tensor) -> Tensor:
        """Return the spikes of this step, shape of `current`."""
        n = self.neuron
        wide = torch.promote_types(current.dtype, torch.float32)
        # A copy: the model may change its current in place afterwards.
        self.seen = (*self.seen, current.to(wide, copy=True))[-n.order :]
        weights = n.weight.to(wide)[n.order - len(self.seen) :].unbind(0)
        margin = -n.threshold.to(wide)
        for weight, each in zip(weights, self.seen, strict=True):
            margin = margin + weight * each
        return spike(margin, 0.0, n.surrogate).to(current.dtype)

    def reset(self) -> None:
        """Forget all currents."""
        self.seen = ()

    def detach(self) -> None:
        """Cut the graph to earlier time steps."""
        self.seen = tuple(each.detach() for each in self.seen)


LEAST = 0.01
"""The bound of the published code, below which no threshold falls."""


def bounded(threshold: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the threshold that counts, at least `LEAST`; the gradient is that of `threshold`."""
    wide = threshold.to(dtype)
    return wide + (wide.clamp(min=LEAST) - wide).detach()


class StepTLIF(Leaf):
    """One time step a call, ``[B, ...]``; the graph reaches through the potential."""

    stateful = True

    def __init__(self, neuron: TLIF) -> None:
        """Take the neuron, at rest."""
        super().__init__()
        self.neuron = neuron
        self.state: tuple[Tensor, Tensor] | None = None

    def forward(self, current: Tensor) -> Tensor:
        """Return the spikes of this step, shape of `current`."""
        d = self.neuron.start
        wide = current.to(widened(current.dtype), copy=True)
        threshold = bounded(self.neuron.threshold, wide.dtype)
        u = wide if self.state is None else wide + self._left(threshold, *self.state)
        s = spike(u - threshold, 0.0, d.surrogate)
        self.state = u, s
        return s.to(current.dtype, copy=True)

    def reset(self) -> None:
        """Go back to rest."""
        self.state = None

    def detach(self) -> None:
        """Cut the graph to earlier time steps."""
        if self.state is not None:
            self.state = self.state[0].detach(), self.state[1].detach()

    def _left(self, threshold: Tensor, u: Tensor, s: Tensor) -> Tensor:
        d = self.neuron.start
        return d.decay * (u - threshold * (s.detach() if d.detach_reset else s))
