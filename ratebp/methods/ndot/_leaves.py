"""NDOT's leaves: a neuron that makes its own trace, and a synapse that reads it.

The decay of NDOT's trace belongs to each presynaptic neuron, so the trace has to be made there and
to reach the synapse as the spikes do. A neuron puts its trace into a `Slot`; a synapse sends the
slots of the neurons before it through a copy of the plumbing (pools, sums, flattening) that their
spikes go through, which `trace_paths` finds at bind.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import torch
from torch import Tensor, nn

from ratebp.bindable import Bindable
from ratebp.methods.ndot._trace_paths import trace_paths
from ratebp.neurons import LIF
from ratebp.ops import last_spike
from ratebp.roles import Role
from ratebp.rules.neurons.lif import DetachedLIF
from ratebp.rules.synapses import Trace, TracedSynapse, common_decay
from ratebp.views import Rule


def bounded_ratio(now: Tensor, last: Tensor, decay: float) -> Tensor:
    """Return ``now / last`` clamped to [-decay, decay], and `decay` where it is not finite."""
    ratio = torch.nan_to_num(now / last, nan=decay, posinf=decay, neginf=decay)
    return ratio.clamp_(-decay, decay)


class Slot:
    """Holds the trace of one neuron layer at this time step, for the synapses that read it."""

    def __init__(self) -> None:
        """Start empty."""
        self.trace: Tensor | None = None


class NdotLIF(DetachedLIF):
    """One time step a call, without gradient through time, putting its trace ``a`` into a slot.

    ::

        v[t] = u[t] - threshold s[t],   v[0] = 0      (the potential after the reset)
        e[t] = v[t] / v[t-1],           clamped to [-decay, decay]; decay where not finite
        a[t] = e[t-1] a[t-1] + s[t]

    For a hard reset, of which the source does not speak, ``v[t] = u[t] (1 - s[t])``.
    """

    def __init__(self, lif: LIF, slot: Slot) -> None:
        """Take the constants of `lif`, at rest and without a trace."""
        super().__init__(lif)
        self.slot = slot
        self._undecayed = replace(lif.dynamics, decay=1.0)
        self.past: Tensor | None = None

    def forward(self, current: Tensor) -> Tensor:
        """Return the spikes of this step, shape of `current`."""
        last = self.potential
        spikes = super().forward(current)
        assert self.potential is not None
        with torch.no_grad():
            self.slot.trace = self._advance(self.potential, last).to(spikes.dtype)
        return spikes

    def reset(self) -> None:
        """Go back to rest and forget the trace."""
        super().reset()
        self.past = self.slot.trace = None

    def _advance(self, now: Tensor, last: Tensor | None) -> Tensor:
        """Return the trace a[t]; keep ``e[t] a[t]``."""
        s = last_spike(now, self.dynamics)
        trace = s if self.past is None else self.past + s
        self.past = self._ratio(now, last) * trace
        return trace

    def _ratio(self, now: Tensor, last: Tensor | None) -> Tensor:
        left = self._left(now)
        before = torch.zeros_like(left) if last is None else self._left(last)
        return bounded_ratio(left, before, self.dynamics.decay)

    def _left(self, u: Tensor) -> Tensor:
        return self._undecayed.carry(u, last_spike(u, self.dynamics))


class PublishedNdotLIF(NdotLIF):
    """The published code's variant: the threshold is subtracted twice, the ratio is that at t.

    ::

        v[t] = u[t] - 2 threshold s[t],   e[t] = v[t] / v[t-1] bounded as in `NdotLIF`
        a[t] = e[t] a[t-1] + s[t]
    """

    def _advance(self, now: Tensor, last: Tensor | None) -> Tensor:
        """Return the trace a[t], and keep it."""
        faded = None if self.past is None else self._ratio(now, last) * self.past
        s = last_spike(now, self.dynamics)
        self.past = s if faded is None else faded + s
        return self.past

    def _left(self, u: Tensor) -> Tensor:
        return super()._left(u) - self.dynamics.threshold * last_spike(u, self.dynamics)


NEURONS = {"formula": NdotLIF, "published": PublishedNdotLIF}


class NdotTrace(Trace):
    """The trace at a synapse: its neurons' traces, sent through the linear operations between.

    The bias, a weight on the constant input 1, keeps the trace of OTTT, with a constant decay.
    """

    def __init__(self, decay: float, slots: list[Slot], plumbing: nn.Module) -> None:
        """Take ``plumbing(*traces)``, the linear operations from the neurons of `slots` to the
        synapse.
        """
        super().__init__(decay)
        self._slots = slots
        self._plumbing = plumbing

    def upon(self, x: Tensor) -> Tensor:
        """Return the trace at this time step, shape of `x`."""
        with torch.no_grad():
            trace: Tensor = self._plumbing(*(slot.trace for slot in self._slots))
        return trace


def ndot_rules(binding: Bindable, potential: str) -> dict[Role, Rule]:
    """Return the rules of NDOT for the model of `binding`.

    Synapses that no spikes reach directly (the first layer) and all biases have OTTT's trace.

    Args:
        binding: what is bound.
        potential: "formula" or "published", see `NdotLIF` and `PublishedNdotLIF`.

    Raises:
        BindError: as `trace_paths`, and for a synapse that feeds neurons of different decay.
    """
    model, wiring = binding.model, binding.wiring
    paths = trace_paths(model, binding.code)
    slots: defaultdict[str, Slot] = defaultdict(Slot)

    def trace(layer: nn.Module, path: str) -> nn.Module:
        behind, before = wiring.behind.get(path, ()), wiring.before.get(path, ())
        decay = common_decay(model, behind or before, path)
        if decay is None:
            return layer
        if path not in paths:
            return TracedSynapse(layer, Trace(decay))
        way = paths[path]
        made = NdotTrace(decay, [slots[n] for n in way.neurons], way.plumbing)
        return TracedSynapse(layer, made)

    return {
        Role.NEURON: lambda lif, path: NEURONS[potential](lif, slots[path]),
        Role.SYNAPSE: trace,
    }
