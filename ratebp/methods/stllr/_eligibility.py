"""Three-factor leaves: a weight's gradient takes traces of both of its ends.

S-TLLR needs two gradients at each synapse: the one by the neuron's current, and the same with the
trace of the slope in place of the slope. A synapse therefore returns a batch of twice the size: its
current, and zeros through which the second gradient comes back. The operations between a synapse
and its neuron must treat both halves alike, so they must be linear.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ratebp.errors import BindError
from ratebp.graph import Graph, Kind, Node
from ratebp.neurons import LIF
from ratebp.ops import naive_synapse, synapse
from ratebp.roles import Role
from ratebp.rules.neurons.lif import DetachedLIF
from ratebp.rules.synapses import Trace, TracedSynapse
from ratebp.wiring import Wiring


class TwoTraceLIF(DetachedLIF):
    """One time step a call, ``[2B, ...]`` to ``[B, ...]``, without gradient through time.

    ::

        q[t] = decay q[t-1] + h'(u[t] - threshold),   q[0] = 0
        gradient of the first half by s:   h'(u[t] - threshold);   of the second:   q[t-1]
    """

    def __init__(self, lif: LIF, decay: float) -> None:
        """Take the constants of `lif`; `decay` is that of the trace of its slope."""
        super().__init__(lif)
        self.decay = decay
        self.trace: Tensor | None = None

    def forward(self, currents: Tensor) -> Tensor:
        """Return the spikes of the first half of `currents`."""
        current, other = currents.chunk(2)
        spikes = super().forward(current)
        if self.trace is not None:
            spikes = spikes + (self.trace * (other - other.detach())).to(spikes.dtype)
        self._advance()
        return spikes

    def reset(self) -> None:
        """Go back to rest and forget the trace."""
        super().reset()
        self.trace = None

    def _advance(self) -> None:
        assert self.potential is not None
        with torch.no_grad():
            d = self.dynamics
            now = d.surrogate.derivative(self.potential - d.threshold)
            self.trace = now if self.trace is None else torch.add(now, self.trace, alpha=self.decay)


class TwoTraceSynapse(TracedSynapse):
    """A synapse that returns ``[2B, ...]``: its current, and zeros that carry a second gradient.

    ::

        a[t] = decay a[t-1] + x[t],   dW += post d_1[t] a[t]^T + pre d_2[t] x[t]^T

    with ``d_1, d_2`` the gradients by the two halves. A bias is a weight on the constant input 1.
    """

    def __init__(self, layer: nn.Module, decay: float, post: float, pre: float) -> None:
        """Take the decay of the trace and the factors of the two terms."""
        super().__init__(layer, Trace(decay))
        self.post = post
        self.pre = pre

    def forward(self, x: Tensor) -> Tensor:
        """Return the current of `x`, one time step ``[B, ...]``, and as many zeros after it."""
        ones = self.post * self._advance_ones(x)
        current = self._substituted(x, self.post * self.trace.upon(x), None, ones)
        still = x.detach()
        zeros = torch.zeros_like(current.detach())
        other = self._substituted(still, self.pre * still, zeros, ones.new_full((), self.pre))
        return torch.cat((current, other.to(current.dtype)))

    def _substituted(self, x: Tensor, source: Tensor, value: Tensor | None, ones: Tensor) -> Tensor:
        if self.geometry is None:
            return naive_synapse(self.layer, x, source, value, ones)
        weight, bias = self.layer.weight, self.layer.bias
        assert isinstance(weight, Tensor)
        assert bias is None or isinstance(bias, Tensor)
        return synapse(x, weight, bias, self.geometry, source=source, value=value, bias_scale=ones)


def refuse_unless_halves_are_alike(method: str, graph: Graph, wiring: Wiring) -> None:
    """Check what lies between synapses and the neurons behind them.

    Args:
        method: name of the method that asks, for messages.
        graph: of what will be bound.
        wiring: of the same.

    Raises:
        BindError: for anything but sums of currents, average pools and flattening there, by place.
    """
    twofold: set[Node] = set()
    for node in graph.nodes:
        inputs = set(node.tensors)
        touched, pure = not twofold.isdisjoint(inputs), bool(inputs) and twofold >= inputs
        if node.role is Role.NEURON:
            legal = pure
        elif node.role is Role.SYNAPSE:
            legal = not touched
        else:
            # A size that is read elsewhere is that of one half.
            plain = Kind.LINEAR in graph.kinds[node] and not node.takes_sizes
            legal = not touched or (pure and plain)
        if not legal:
            what = f"`{node.name}` ({node.where})"
            if node.module is not None:
                what = f"{type(node.module).__name__} at `{node.path}`"
            raise BindError(
                f"{method} cannot cross {what}: between a synapse and the neuron behind it there "
                "may be sums of currents, average pools and flattening, and a neuron must follow a "
                "synapse. Take a model without norms and the like, or train with ottt_a or sltt."
            )
        behind = node.role is Role.SYNAPSE and bool(wiring.behind.get(node.path))
        if behind or (touched and node.role is None):
            twofold.add(node)
