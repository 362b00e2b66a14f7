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

from torch import Tensor, nn

from ratebp.dynamics import Dynamics
from ratebp.errors import BindError
from ratebp.neurons import LIF
from ratebp.ops import every_step, lif_scan
from ratebp.rules.neuron import RecordNeuronScan
from ratebp.rules.record import widened
from ratebp.views import Folded

Slope = Callable[[Tensor, Dynamics], Tensor]
"""``slope(mean current, constants) -> d rate / d current``, elementwise."""


def clipped_if(x: Tensor, d: Dynamics) -> Tensor:
    """Return 1/threshold where ``0 <= x <= threshold``, else 0 (DSR, IF form)."""
    return ((x >= 0) & (x <= d.threshold)).to(x.dtype) / d.threshold


def clipped_lif(x: Tensor, d: Dynamics) -> Tensor:
    """Return 1/threshold where ``0 < x < threshold``, else 0 (DSR, LIF form)."""
    return ((x > 0) & (x < d.threshold)).to(x.dtype) / d.threshold


def rectified(x: Tensor, d: Dynamics) -> Tensor:
    """Return 1/threshold where ``x > 0``, else 0 (tandem learning)."""
    return (x > 0).to(x.dtype) / d.threshold


def fitted(x: Tensor, d: Dynamics) -> Tensor:
    """Return the slope of RGA's curve, for a threshold of 1 with ``decay`` the paper's tau.

    ::

        0.2                                   0 <= x < 1 - decay
        (0.8 + 0.2 decay) / (1 + decay)       1 - decay <= x <= 2;   else 0
    """
    z = x / d.threshold
    steep = (0.8 + 0.2 * d.decay) / (1 + d.decay)
    slow, fast = (z >= 0) & (z < 1 - d.decay), (z >= 1 - d.decay) & (z <= 2)
    return (0.2 * slow.to(x.dtype) + steep * fast.to(x.dtype)) / d.threshold


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


class FittedLIF(Folded):
    """All time steps at once, folded ``[T*B, ...]``: the LIF's spikes, one slope for all steps.

    ::

        dI[t] = slope(mean_t I) ds[t]
    """

    def __init__(self, lif: LIF, timesteps: int, slope: Slope) -> None:
        """Take the constants of `lif`."""
        super().__init__()
        self.dynamics = lif.dynamics
        self.timesteps = timesteps
        self.slope = slope

    def forward(self, current: Tensor) -> Tensor:
        """Return spikes, shape of `current`."""
        folded = every_step(self.steps(current), self.timesteps)
        still = folded.detach()
        mean = still.mean(0, dtype=widened(still.dtype))
        slope = self.slope(mean, self.dynamics).to(current.dtype)
        out: Tensor = lif_scan(still, self.dynamics) + slope * (folded - still)
        return out.flatten(0, 1)


class RecordRectifiedScan(RecordNeuronScan):
    """The spiking stream of tandem learning: spike counts, and the slope of a rectifier."""

    def forward(self, current: Tensor) -> Tensor:
        """Return spikes, shape of `current`."""
        steps = self.steps(current.detach())
        spikes = lif_scan(every_step(steps, self.timesteps), self.dynamics)
        wide = widened(spikes.dtype)
        slope = rectified(steps.mean(0, dtype=wide), self.dynamics)
        self.record.put(spikes.sum(0, dtype=wide), self.timesteps * slope)
        return spikes.flatten(0, 1)


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
