"""Neurons whose backward is a closed-form map from mean current to mean rate.

With soft reset ``v[t] = u[t] - threshold s[t]`` obeys ``v[t] = decay v[t-1] + I[t] - threshold
s[t]``, so with weights ``w[t] = decay^(T-t)``, normalised to sum 1,

::

    sum_t w[t] s[t] = (sum_t w[t] I[t]) / threshold - (what is left in v[T])

which for a bounded v[T] is the rate ``clip(x / threshold, 0, 1)`` of the weighted mean current x.
No time step's potential takes part in such a backward.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ratebp.dynamics import Dynamics
from ratebp.neurons import LIF, TLIF
from ratebp.ops import every_step, lif_scan
from ratebp.rules.handover import widened
from ratebp.rules.neurons.exact import Looped
from ratebp.rules.neurons.others import StepTLIF, bounded
from ratebp.views import Folded

Slope = Callable[[Tensor, Dynamics], Tensor]
"""``slope(mean current, constants) -> d rate / d current``, elementwise."""


def clipped_if(x: Tensor, d: Dynamics) -> Tensor:
    """Return 1/threshold where ``0 <= x <= threshold``, else 0 (DSR, IF form)."""
    return ((x >= 0) & (x <= d.threshold)).to(x.dtype) / d.threshold


def clipped_lif(x: Tensor, d: Dynamics) -> Tensor:
    """Return 1/threshold where ``0 < x < threshold``, else 0 (DSR, LIF form)."""
    return ((x > 0) & (x < d.threshold)).to(x.dtype) / d.threshold


def even_weights(timesteps: int, decay: float) -> list[float]:
    """Return T weights 1/T."""
    return [1 / timesteps] * timesteps


def recent_weights(timesteps: int, decay: float) -> list[float]:
    """Return T weights ``decay^(T-t)``, normalised to sum 1."""
    raw = [decay ** (timesteps - 1 - t) for t in range(timesteps)]
    return [each / sum(raw) for each in raw]


Weights = Callable[[int, float], list[float]]

FORMS: dict[str, tuple[Slope, Weights]] = {
    "if": (clipped_if, even_weights),
    "lif": (clipped_lif, recent_weights),
}


class RepresentedLIF(Folded):
    """All time steps at once, folded ``[T*B, ...]``: the LIF's spikes, a backward even in time.

    ::

        x = sum_t w[t] I[t],   dI[t] = slope(x) sum_k w[k] ds[k]      the same for every t
    """

    def __init__(self, lif: LIF, timesteps: int, slope: Slope, weights: Weights) -> None:
        """Take the constants of `lif`."""
        super().__init__()
        self.dynamics = lif.dynamics
        self.timesteps = timesteps
        self.slope = slope
        self.weights = weights(timesteps, lif.dynamics.decay)

    def forward(self, current: Tensor) -> Tensor:
        """Return spikes, shape of `current`."""
        folded = every_step(self.steps(current), self.timesteps)
        still = folded.detach()
        w = still.new_tensor(self.weights, dtype=widened(still.dtype))
        w = w.view(-1, *[1] * (still.dim() - 1))
        slope = self.slope((w * still).sum(0), self.dynamics).to(current.dtype)
        mean = folded.mean(0)
        # Of value zero: it carries the gradient, slope * sum_k w[k] ds[k], spread evenly by mean.
        carrier = slope * (mean - mean.detach())
        spikes = lif_scan(still, self.dynamics)
        out: Tensor = spikes + (self.timesteps * w).to(current.dtype) * carrier
        return out.flatten(0, 1)


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
