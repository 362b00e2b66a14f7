"""How neurons with a learned threshold run over time: exactly, and by their mean currents."""

from __future__ import annotations

import torch
from torch import Tensor

from ratebp.neurons import TLIF
from ratebp.ops.spike import spike
from ratebp.rules.exact import scan_neuron, step_neuron
from ratebp.rules.looped import Looped
from ratebp.rules.record import widened
from ratebp.rules.spike_representation import even_weights, recent_weights
from ratebp.views import Leaf

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


class RepresentedTLIF(Looped):
    """All time steps at once, folded ``[T*B, ...]``, with DSR's backward for both inputs.

    ::

        x = sum_t w[t] I[t],   dI[t] = (1/threshold) sum_k w[k] ds[k]   where 0 <= x <= threshold
        ds[t]/d threshold = (1[x > threshold] - s[t]) / threshold

    so that ``threshold s``, the spikes of the paper, follow the threshold where the mean current
    exceeds it and nowhere else. The bounds of the clip pass no current in the "lif" form.
    """

    one: StepTLIF

    def __init__(self, neuron: TLIF, timesteps: int, form: str) -> None:
        """Take the neuron and the form, "if" or "lif"."""
        super().__init__(StepTLIF(neuron), timesteps)
        self.closed = form == "if"
        weights = even_weights if self.closed else recent_weights
        self.weights = weights(timesteps, neuron.start.decay)

    def forward(self, current: Tensor) -> Tensor:
        """Return spikes, shape of `current`."""
        folded = current.unflatten(0, (self.timesteps, -1))
        with torch.no_grad():
            spikes = super().forward(current).unflatten(0, (self.timesteps, -1))
            wide = widened(folded.dtype)
            w = folded.new_tensor(self.weights, dtype=wide).view(-1, *[1] * (folded.dim() - 1))
            x = (w * folded).sum(0)
            fixed = bounded(self.one.neuron.threshold, wide)
            inside = ((x >= 0) & (x <= fixed)) if self.closed else ((x > 0) & (x < fixed))
            slope = (inside.to(wide) / fixed).to(current.dtype)
            moved = ((x > fixed).to(wide) - spikes.to(wide)) / fixed
        mean = folded.mean(0)
        # Both of value zero: they carry the gradients.
        carrier = slope * (mean - mean.detach())
        threshold = bounded(self.one.neuron.threshold, wide)
        by_threshold = (moved * (threshold - threshold.detach())).to(current.dtype)
        out: Tensor = spikes + (self.timesteps * w).to(current.dtype) * carrier + by_threshold
        return out.flatten(0, 1)


@scan_neuron.register
def _(neuron: TLIF, timesteps: int) -> Leaf:
    return Looped(StepTLIF(neuron), timesteps)


@step_neuron.register
def _(neuron: TLIF) -> Leaf:
    return StepTLIF(neuron)
