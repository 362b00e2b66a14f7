"""The rules of online training through time: which synapses and biases use a trace."""

from __future__ import annotations

from collections import Counter

from torch import nn

from ratebp.roles import Role, role_of
from ratebp.rules.delay import detached_neuron
from ratebp.rules.synapse import Trace, TracedSynapse
from ratebp.views import Rule
from ratebp.wiring import Wiring, common_decay

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
