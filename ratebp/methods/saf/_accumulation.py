"""Spike accumulation forwarding: the network runs on accumulated spikes instead of spikes.

::

    a[t] = decay a[t-1] + s[t],   e[t] = decay e[t-1] + 1
    U[t] = W a_in[t] + b e[t],    u[t] = U[t] - threshold decay a[t-1]
    s[t] = 1 if u[t] >= threshold else 0,   da[t]/du[t] = h'(u[t] - threshold)

``u`` is exactly the potential of the LIF with soft reset, so spikes and logits are the spiking
network's. A weight's gradient then takes the accumulation, that is OTTT's trace, for the price of
one synaptic operation instead of two. All maps between the neurons must commute with accumulating:
linear, the same at every step, one decay throughout.

Source: Saiin et al. 2024, arXiv 2310.02772.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from ratebp.bindable import Bindable
from ratebp.errors import BindError
from ratebp.graph import Graph, Kind, Node
from ratebp.neurons import LIF
from ratebp.ops import geometry_of, spike, synapse
from ratebp.roles import Role
from ratebp.rules.convolutions import frozen
from ratebp.rules.handover import widened
from ratebp.views import Leaf, View


def _accumulate(now: Tensor, last: Tensor | None, decay: float) -> Tensor:
    # Out of place: an earlier step's graph may still hold the last accumulation.
    with torch.no_grad():
        now = now.detach()
        return now if last is None else torch.add(now, last, alpha=decay)


class AccumulatedLIF(Leaf):
    """A neuron from accumulated current to accumulated spikes, one time step a call.

    The accumulation of earlier spikes is a constant in the backward: ``da[t]/ds[t] = 1``.
    """

    stateful = True

    def __init__(self, lif: LIF) -> None:
        """Take the constants of `lif`, at rest."""
        super().__init__()
        self.dynamics = lif.dynamics
        self.reset()

    def reset(self) -> None:
        """Go back to rest."""
        self.accumulation: Tensor | None = None

    def potential(self, current: Tensor) -> Tensor:
        """Return the LIF's potential before the reset, in at least float32."""
        if self.accumulation is None:
            # A copy, so that a model which goes on to change the current in place does no harm.
            return current.to(widened(current.dtype), copy=True)
        wide = current.to(widened(current.dtype))
        d = self.dynamics
        return wide - d.threshold * d.decay * self.accumulation

    def forward(self, current: Tensor) -> Tensor:
        """Return the accumulated spikes of this step, shape and dtype of `current`."""
        d = self.dynamics
        s = spike(self.potential(current), d.threshold, d.surrogate)
        a = s if self.accumulation is None else d.decay * self.accumulation + s
        self.accumulation = a.detach()
        # A copy, so that a model which adds to its spikes in place does not change the state.
        return a.to(current.dtype, copy=True)


class AccumulatedSynapse(Leaf):
    """A synapse on accumulated input: ``U[t] = W a[t] + b e[t]``, one time step a call."""

    stateful = True

    def __init__(self, layer: nn.Module, decay: float) -> None:
        """Start at rest; `decay` is that of the accumulations."""
        super().__init__()
        self.layer = layer
        self.decay = decay
        self.geometry = geometry_of(layer)
        self.reset()

    def reset(self) -> None:
        """Forget how long the sequence is."""
        self.ones: Tensor | None = None

    def forward(self, a: Tensor) -> Tensor:
        """Return the accumulated current for the accumulated input `a`, ``[B, ...]``."""
        self.ones = _accumulate(a.new_ones(()), self.ones, self.decay)
        if self.geometry is None:
            # Whatever the layer calls its offset, it is what the layer answers to nothing.
            out: Tensor = self.layer(a)
            offset: Tensor = self.layer(torch.zeros_like(a[:1]))
            return out + (self.ones - 1) * offset
        weight, bias = self.layer.weight, self.layer.bias
        assert isinstance(weight, Tensor)
        assert bias is None or isinstance(bias, Tensor)
        whole = None if bias is None else bias * self.ones
        if frozen(self.layer):  # torch's convolution would keep its input
            return synapse(a, weight, whole, self.geometry)
        current: Tensor = self.geometry.apply(a, weight, whole)
        return current


class SpikingLogits(Leaf):
    """A whole network on accumulations, seen from outside: inputs in, logits of the step out.

    ::

        o[t] = U[t] - decay U[t-1],   U of the readout

    Args:
        net: the network, its neurons and synapses replaced by the accumulating ones.
        decay: of the accumulations.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        """Start at rest."""
        super().__init__()
        self.net = net
        self.decay = decay
        self.reset()

    def reset(self) -> None:
        """Forget the accumulated input and output."""
        self.input: Tensor | None = None
        self.output: Tensor | None = None

    def run(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the accumulated output of this step and, without its graph, ``decay U[t-1]``."""
        self.input = _accumulate(x, self.input, self.decay)
        out: Tensor = self.net(self.input)
        out = out.to(widened(out.dtype))
        past = torch.zeros_like(out) if self.output is None else self.decay * self.output
        self.output = out.detach()
        return out, past

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of this step ``[B, K]`` for the input ``[B, ...]``."""
        out, past = self.run(x)
        return out - past


class LogitsAndRate(SpikingLogits):
    """As `SpikingLogits`, with the exponentially weighted mean of the logits so far beside them.

    ::

        m[t] = U[t] / e[t] = sum_k decay^(t-k) o[k] / sum_k decay^(t-k)
    """

    def reset(self) -> None:
        """Forget the accumulations and the sum of the weights."""
        super().reset()
        self.ones: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[2, B, K]``, the logits of this step and their weighted mean so far."""
        out, past = self.run(x)
        self.ones = _accumulate(out.new_ones(()), self.ones, self.decay)
        return torch.stack((out - past, out / self.ones))


def accumulated_view(
    method: str,
    binding: Bindable,
    outside: Callable[[nn.Module, float], nn.Module] = SpikingLogits,
) -> View:
    """Return a view that runs the model on accumulations.

    Args:
        method: name of the method that asks, for messages.
        binding: what is bound.
        outside: `SpikingLogits` or `LogitsAndRate`.

    Raises:
        BindError: for a neuron or an operation that accumulations cannot cross, by place.
    """
    decay = _one_decay(method, binding.model)
    _refuse_what_does_not_commute(method, binding.graph)
    return binding.view(
        {
            Role.NEURON: lambda lif, _: AccumulatedLIF(lif),
            Role.SYNAPSE: lambda layer, _: AccumulatedSynapse(layer, decay),
        },
        containers={"": lambda net: outside(net, decay)},
    )


def _one_decay(method: str, model: nn.Module) -> float:
    neurons = {path: m for path, m in model.named_modules() if isinstance(m, LIF)}
    for path, lif in neurons.items():
        if lif.dynamics.reset != "soft":
            raise BindError(
                f"{method} cannot run the neuron `{path}` with reset={lif.dynamics.reset!r}: only "
                "the soft reset is a difference of accumulations. Use reset='soft', or train with "
                "ottt_a, sltt or bptt_s."
            )
        if not lif.dynamics.detach_reset:
            raise BindError(
                f"{method} cannot run the neuron `{path}` with detach_reset=False: it takes the "
                "accumulation of earlier spikes for a constant. Use detach_reset=True, or train "
                "with bptt_s."
            )
    decays = {path: lif.dynamics.decay for path, lif in neurons.items()}
    if len(set(decays.values())) != 1:
        listed = ", ".join(f"`{path}` {decay}" for path, decay in decays.items()) or "none"
        raise BindError(
            f"{method} accumulates all signals with one decay, but the neurons (ratebp.LIF) have "
            f"several, or there is none: {listed}. Give them one decay, or train with sltt, "
            "ottt_a or bptt_s."
        )
    return next(iter(decays.values()))


def _refuse_what_does_not_commute(method: str, graph: Graph) -> None:
    for node in graph.nodes:
        if node.name in ("input", "output", "parameter") or _commutes(node, graph):
            continue
        what = f"{node.name} ({node.where})"
        if node.module is not None:
            what = f"{type(node.module).__name__} at `{node.path}`"
        raise BindError(
            f"{method} cannot cross {what}: it hands on accumulated "
            "spikes, so what lies around synapses and neurons must be linear and the same at every "
            "step: a + b, flatten, view, reshape, average pools, Identity. Take a "
            "model without norms and the like, or train with ottt_a or sltt."
        )


def _commutes(node: Node, graph: Graph) -> bool:
    if node.role is not None:
        silent = isinstance(node.module, _DropoutNd) and node.module.p == 0
        return node.role in (Role.NEURON, Role.SYNAPSE) or silent
    kinds = graph.kinds[node]
    # A parameter that is learned would need a trace of its own.
    learned = any(each.name == "parameter" for each in node.constants())
    if node.inside:  # a synapse's own: its weights have their trace, its offset is known
        return kinds.isdisjoint((Kind.RANDOM, Kind.STATEFUL)) and (
            not node.signal or Kind.AFFINE in kinds
        )
    same = Kind.RANDOM not in kinds and Kind.STATEFUL not in kinds
    return same and (not node.signal or (Kind.LINEAR in kinds and not learned))
