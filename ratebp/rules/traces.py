"""The rules of online training through time: which synapses and biases use a trace."""

from __future__ import annotations

from torch import nn

from ratebp.roles import Role
from ratebp.rules.delay import detached_neuron
from ratebp.rules.synapse import TracedSynapse
from ratebp.views import Rule
from ratebp.wiring import Wiring, common_decay

PLACEMENTS = ("all", "spiking", "published")


def ottt_rules(model: nn.Module, wiring: Wiring, placement: str) -> dict[Role, Rule]:
    """Return the rules of OTTT for `model`.

    The decay of a synapse's trace is that of the neurons behind it; a readout, which has none,
    takes that of the neurons before it.

    Args:
        model: what will be bound.
        wiring: of that model.
        placement: "all" synapses and biases; "spiking", all but the readout; "published", which
            leaves out the first layer and every bias.

    Raises:
        BindError: for a synapse that feeds neurons of different decay.
    """

    def trace(layer: nn.Module, path: str) -> nn.Module:
        behind, before = wiring.behind.get(path, ()), wiring.before.get(path, ())
        decay = common_decay(model, behind or before, path)
        readout, first = not behind, not before
        if decay is None or (placement == "spiking" and readout):
            return layer
        if placement == "published" and first:
            return layer
        return TracedSynapse(layer, decay, traced_bias=placement != "published")

    return {Role.NEURON: detached_neuron, Role.SYNAPSE: trace}
