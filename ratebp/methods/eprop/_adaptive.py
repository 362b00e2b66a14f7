"""Leaves of e-prop for neurons with a threshold that adapts.

A weight's past lives on in a LIF through the potential alone, where all weights fade alike: one
presynaptic trace a synapse says it all. In an ALIF it lives on in the threshold, too, by as much as
the neuron behind was near firing. That takes a second trace for each sample and weight.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ratebp.neurons import ALIF
from ratebp.rules.neurons.others import StepALIF
from ratebp.views import Leaf


class Slope:
    """The slope ``h'`` of an ALIF layer at its last step, read by the synapses into it.

    Attributes:
        value: ``[B, ..., N]``; None at rest.
    """

    def __init__(self) -> None:
        """Start at rest."""
        self.value: Tensor | None = None


class SlopedALIF(StepALIF):
    """One time step a call, ``[B, ...]``, showing its slope."""

    def __init__(self, neuron: ALIF, slope: Slope) -> None:
        """Take the constants of `neuron`, at rest, and share `slope` with its synapses."""
        super().__init__(neuron)
        self.slope = slope

    def forward(self, current: Tensor) -> Tensor:
        """Return the spikes of this step, shape of `current`."""
        spikes = super().forward(current)
        assert self.state is not None
        with torch.no_grad():
            self.slope.value = self.charging.surrogate.derivative(self.state.margin)
        return spikes

    def reset(self) -> None:
        """Go back to rest."""
        super().reset()
        self.slope.value = None


class AdaptiveSynapse(Leaf):
    """A linear synapse into ALIF neurons, ``[B, ..., M]`` to ``[B, ..., N]``, one step a call.

    ::

        a[t] = decay a[t-1] + x[t]
        r[t] = h'[t-1] a[t-1] + (adaptation_decay - adaptation h'[t-1]) r[t-1],   r[1] = 0
        dW += d[t] (a[t] - adaptation r[t])

    with ``r = d (adaptation) / d W``, a number for each sample and weight, ``d[t]`` the gradient by
    the current and ``h'`` the slope of the neuron behind. The input gets no gradient. A bias is a
    weight on the constant input 1.

    Source: Bellec et al. 2020, where r is called epsilon_a.
    """

    stateful = True

    def __init__(self, layer: nn.Linear, neuron: ALIF, slope: Slope) -> None:
        """Take the constants of the `neuron` behind, which shares `slope`; start at rest."""
        super().__init__()
        self.layer = layer
        self.decay = neuron.charging.decay
        self.adaptation = neuron.adaptation
        self.adaptation_decay = neuron.adaptation_decay
        self.slope = slope
        self.reset()

    def forward(self, x: Tensor) -> Tensor:
        """Return the current of `x`."""
        weight, bias = self.layer.weight, self.layer.bias
        fixed = None if bias is None else bias.detach()
        value = F.linear(x.detach(), weight.detach(), fixed)
        if not any(p.requires_grad for p in self.layer.parameters()):
            return value  # nobody asks for an eligibility
        theta = weight if bias is None else torch.cat((weight, bias.unsqueeze(1)), 1)
        moved = torch.einsum("...jm,jm->...j", self._advance(x, theta), theta)
        return value + (moved - moved.detach()).to(value.dtype)

    def reset(self) -> None:
        """Forget the traces."""
        self.trace: Tensor | None = None
        self.risen: Tensor | None = None

    def _advance(self, x: Tensor, theta: Tensor) -> Tensor:
        """Return the eligibility of this step but for its slope, ``[B, ..., N, M]``."""
        wide = torch.promote_types(x.dtype, torch.float32)
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            seen = x if x.shape[-1] == theta.shape[1] else F.pad(x, (0, 1), value=1.0)
            now, last = seen.to(wide), self.trace
            self.trace = now if last is None else torch.add(now, last, alpha=self.decay)
            if last is None:
                self.risen = now.new_zeros(*now.shape[:-1], *theta.shape)
            else:
                self.risen = self._risen(last.unsqueeze(-2))
            return self.trace.unsqueeze(-2) - self.adaptation * self.risen

    def _risen(self, last: Tensor) -> Tensor:
        assert self.slope.value is not None
        assert self.risen is not None
        h = self.slope.value.unsqueeze(-1)
        return h * last + (self.adaptation_decay - self.adaptation * h) * self.risen
