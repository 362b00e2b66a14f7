"""Synapses that learn by a trace or over many steps, and which of them OTTT gives a trace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ratebp.errors import BindError
from ratebp.neurons import Recurrent
from ratebp.ops import accumulating, geometry_of, naive_synapse, synapse
from ratebp.roles import Role, role_of
from ratebp.rules.convolutions import frozen
from ratebp.rules.neurons.delay import detached_neuron
from ratebp.views import Leaf, Rule
from ratebp.wiring import Wiring


class Trace:
    """The presynaptic trace of one signal, shared by the synapses that take the signal.

    Args:
        decay: in [0, 1].
        readers: how many synapses take it, each once a time step.
    """

    def __init__(self, decay: float, readers: int = 1) -> None:
        """Start at rest."""
        self.decay = decay
        self._readers = readers
        self.reset()

    def reset(self) -> None:
        """Forget the past."""
        self._value: Tensor | None = None
        self._left = 0
        self._follows = False

    def upon(self, x: Tensor) -> Tensor:
        """Return the trace after `x`, the signal of this time step."""
        self.skip()
        if not self._follows:
            # Out of place: an earlier step's graph may still hold the old trace.
            with torch.no_grad():
                now, last = x.detach(), self._value
                self._value = now if last is None else torch.add(now, last, alpha=self.decay)
            self._follows = True
        assert self._value is not None
        return self._value

    def skip(self) -> None:
        """Count one reader of this time step, which needs no trace."""
        if self._left == 0:
            self._left, self._follows = self._readers, False
        self._left -= 1


class TracedSynapse(Leaf):
    """A synapse whose weight gradient uses its presynaptic trace, one time step a call.

    ::

        a[t] = decay * a[t-1] + x[t],   dW += d[t] a[t]^T
        e[t] = decay * e[t-1] + 1,      db += d[t] e[t]

    The trace follows whatever arrives at the synapse, with the decay of the neuron behind (Xiao et
    al. 2022). A bias is a weight on the constant input 1.

    Args:
        layer: the synapse.
        trace: of its input.
        traced_bias: False leaves the bias's gradient without a trace.
    """

    stateful = True

    def __init__(self, layer: nn.Module, trace: Trace, *, traced_bias: bool = True) -> None:
        """Start with no trace."""
        super().__init__()
        self.layer = layer
        self.trace = trace
        self.traced_bias = traced_bias
        self.geometry = geometry_of(layer)
        self.reset()

    def reset(self) -> None:
        """Forget the trace."""
        self.trace.reset()
        self.ones_trace: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return the synapse's current for `x`, one time step ``[B, ...]``."""
        source = self._source(x)
        scale = self._advance_ones(x) if self.traced_bias else None
        if self.geometry is None:
            return naive_synapse(self.layer, x, source, None, scale)
        weight, bias = self.layer.weight, self.layer.bias
        assert isinstance(weight, Tensor)
        assert bias is None or isinstance(bias, Tensor)
        return synapse(x, weight, bias, self.geometry, source=source, bias_scale=scale)

    def _source(self, x: Tensor) -> Tensor | None:
        """Return the trace of `x`; None for a frozen weight, which needs none."""
        if frozen(self.layer):
            self.trace.skip()
            return None
        return self.trace.upon(x)

    def _advance_ones(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            last = self.ones_trace
            self.ones_trace = x.new_ones(()) if last is None else 1 + self.trace.decay * last
        return self.ones_trace


class GatheringSynapse(Leaf):
    """A synapse that is used at many time steps and adds to its parameters' `.grad` at each."""

    def __init__(self, layer: nn.Module) -> None:
        """Take the synapse, a torch layer or a leaf."""
        super().__init__()
        self.layer = layer
        self.reset()

    def reset(self) -> None:
        """Start a sequence, whose first step leaves its gradient to autograd."""
        self.first = True

    def detach(self) -> None:
        """Start another graph: the same."""
        self.first = True

    def forward(self, x: Tensor) -> Tensor:
        """Return the synapse's output for this step."""
        first = self.first or torch.compiler.is_compiling()
        if first:
            self.first = False
            plain: Tensor = self.layer(x)
            return plain
        parameters = {name: accumulating(p) for name, p in self.layer.named_parameters()}
        out: Tensor = functional_call(self.layer, parameters, (x,))
        return out


PLACEMENTS = ("all", "spiking", "published")


def ottt_rules(model: nn.Module, wiring: Wiring, placement: str) -> dict[Role, Rule]:
    """Return the rules of OTTT for `model`.

    The decay of a synapse's trace is that of the neurons behind it; a readout, which has none,
    takes that of the neurons before it. Synapses that take one signal at one decay share its trace.

    Args:
        model: what will be bound.
        wiring: of that model.
        placement: "all" synapses and biases; "spiking", all but the readout; "published", which
            leaves out the first layer and every bias.

    Raises:
        BindError: for a synapse that feeds neurons of different decay.
    """

    synapses = [path for path, m in model.named_modules() if role_of(m) is Role.SYNAPSE]
    found = {path: _decay(model, wiring, placement, path) for path in synapses}
    decays = {path: decay for path, decay in found.items() if decay is not None}
    signals = {path: (wiring.sources.get(path, path), decay) for path, decay in decays.items()}
    readers = Counter(signals.values())
    traces = {signal: Trace(signal[1], number) for signal, number in readers.items()}

    def trace(layer: nn.Module, path: str) -> nn.Module:
        if path not in signals:
            return layer
        return TracedSynapse(layer, traces[signals[path]], traced_bias=placement != "published")

    return {Role.NEURON: detached_neuron, Role.SYNAPSE: trace}


def _decay(model: nn.Module, wiring: Wiring, placement: str, path: str) -> float | None:
    """Return the decay of the trace at the synapse `path`, None if it takes none."""
    behind, before = wiring.behind.get(path, ()), wiring.before.get(path, ())
    readout, first = not behind, not before
    if (placement == "spiking" and readout) or (placement == "published" and first):
        return None
    return common_decay(model, behind or before, path)


def _lif_at(neuron: Any) -> Any:
    return neuron.neuron if isinstance(neuron, Recurrent) else neuron


def common_decay(model: nn.Module, neurons: Iterable[str], at: str) -> float | None:
    """Return the one decay that all `neurons` share, or None when there are none.

    Args:
        model: the model that holds the neurons.
        neurons: paths of LIF leaves, or of Recurrent ones of LIF.
        at: path of the leaf that asks, for the message.

    Raises:
        BindError: when the decays differ, since one trace cannot have two decays.
    """
    modules: dict[str, Any] = dict(model.named_modules())
    decays = {path: _lif_at(modules[path]).dynamics.decay for path in neurons}
    if len(set(decays.values())) > 1:
        listed = ", ".join(f"`{path}` {decay}" for path, decay in sorted(decays.items()))
        raise BindError(
            f"synapse `{at}` feeds neurons of different decay ({listed}), so it has no single "
            "presynaptic trace. Give these neurons one decay, or train with sltt or bptt_s."
        )
    return next(iter(decays.values()), None)
