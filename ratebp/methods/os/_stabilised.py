"""The online threshold stabiliser: thresholds follow the distribution of the potentials.

With the mean ``m[t]`` and the standard deviation ``d[t]`` (unbiased) of a layer's potentials
before the reset, over the batch and all units::

    theta[1] = threshold,   theta[t] = m[t] + q d[t],   q = (threshold - m[1]) / d[1]
    u[t] = decay (u[t-1] - theta[t-1] s[t-1]) + I[t],   s[t] = 1 if u[t] >= theta[t] else 0

so that the same share of potentials fires at every step, were their distribution of one shape. No
gradient goes through theta, nor through time.

Source: Zhu et al. 2024, ICLR.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from ratebp.neurons import LIF
from ratebp.ops import spike
from ratebp.rules.handover import widened
from ratebp.views import Leaf

MOMENTUM = 0.1


class _AdaptedLIF(Leaf):
    """Base of LIF neurons without gradient through time whose threshold a subclass computes."""

    stateful = True

    def __init__(self, lif: LIF) -> None:
        """Take the constants of `lif`, at rest."""
        super().__init__()
        self.dynamics = lif.dynamics
        self.reset()

    def reset(self) -> None:
        """Go back to rest."""
        self.left: Tensor | None = None

    def threshold(self, u: Tensor) -> Tensor:
        """Return the threshold of this step, 0-dim, for the potentials `u`."""
        raise NotImplementedError

    def forward(self, current: Tensor) -> Tensor:
        """Return the spikes of this step, shape and dtype of `current`."""
        d = self.dynamics
        # A copy, so that a model which goes on to change the current in place does no harm.
        wide = current.to(widened(current.dtype), copy=self.left is None)
        u = wide if self.left is None else wide + self.left
        with torch.no_grad():
            theta = self.threshold(u.detach())
        spikes = spike(u - theta, 0.0, d.surrogate)
        with torch.no_grad():
            fixed = spikes.detach()
            past = u.detach()
            self.left = (
                d.decay * (past - theta * fixed) if d.reset == "soft" else d.carry(past, fixed)
            )
        return spikes.to(current.dtype)


class RunningThreshold:
    """The threshold that a neuron's training arrived at, 0-dim, or None before any.

    It is shared by the neuron of training, which updates it in every sequence, and the neuron of
    the same path in inference, which reads it.
    """

    def __init__(self) -> None:
        """Start with none."""
        self.value: Tensor | None = None


class StabilisedLIF(_AdaptedLIF):
    """A LIF whose threshold is set at every step from its own potentials.

    `running` follows the mean over time of the thresholds, for inference with a threshold that
    does not depend on the batch.

    Args:
        lif: the neuron.
        path: its name in the model, by which inference finds it.
        world: processes that share the batch; more than one average their statistics.
    """

    def __init__(self, lif: LIF, path: str, world: int) -> None:
        """Start from the neuron's own threshold."""
        super().__init__(lif)
        self.path = path
        self.world = world
        self.running = RunningThreshold()

    def reset(self) -> None:
        """Go back to rest; `running` stays."""
        super().reset()
        self.quantile: Tensor | None = None
        self.seen: tuple[Tensor, Tensor, Tensor] | None = None

    def threshold(self, u: Tensor) -> Tensor:
        """Return the threshold of this step and follow it."""
        own = u.new_full((), self.dynamics.threshold)
        mean, std = self._statistics(u)
        if self.quantile is None:
            theta, self.quantile = own, (own - mean) / std
        else:
            theta = mean + std * self.quantile
            # Potentials that were all equal at the first step give no q: the threshold stays.
            theta = torch.where(theta.isfinite(), theta, own)
        self._follow(theta, own)
        return theta

    def _statistics(self, u: Tensor) -> tuple[Tensor, Tensor]:
        count, total = u.new_full((), u.numel()), u.sum()
        if self.world > 1:
            dist.all_reduce(count)
            dist.all_reduce(total)
        mean = total / count
        squares = (u - mean).pow(2).sum()
        if self.world > 1:
            dist.all_reduce(squares)
        return mean, torch.sqrt(squares / (count - 1))

    def _follow(self, theta: Tensor, own: Tensor) -> None:
        # As for running statistics: after t steps, what a sequence of t steps would leave.
        if self.seen is None:
            start = own if self.running.value is None else self.running.value
            self.seen = (start, torch.ones_like(theta), theta)
        else:
            start, steps, total = self.seen
            self.seen = (start, steps + 1, total + theta)
        start, steps, total = self.seen
        self.running.value = start + MOMENTUM * (total / steps - start)


class FrozenLIF(_AdaptedLIF):
    """A LIF with one fixed threshold, the running mean of those in training."""

    def __init__(self, lif: LIF, running: RunningThreshold) -> None:
        """Share `running` with the neuron of training."""
        super().__init__(lif)
        self.running = running

    def threshold(self, u: Tensor) -> Tensor:
        """Return the threshold that training arrived at, the neuron's own before any."""
        value = self.running.value
        return u.new_full((), self.dynamics.threshold) if value is None else value.to(u)
