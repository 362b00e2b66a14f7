"""The two rule sets of rate-based backpropagation, whose leaves pair up by path."""

from __future__ import annotations

from collections import defaultdict

from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from ratebp.errors import BindError
from ratebp.roles import Role
from ratebp.rules.neuron import RecordNeuronScan, RecordNeuronStep, ReplayNeuron
from ratebp.rules.norm import RecordNormLastStep, RecordNormScan, RecordNormStep, ReplayNorm
from ratebp.rules.record import RateRecord
from ratebp.rules.synapse import RecordSynapseScan, RecordSynapseStep, ReplaySynapse
from ratebp.views import Rule
from ratebp.wiring import Wiring


def rate_rules(
    model: nn.Module,
    wiring: Wiring,
    timesteps: int,
    neuron: type[RecordNeuronScan | RecordNeuronStep],
    synapse: type[RecordSynapseScan | RecordSynapseStep],
    norm: type[RecordNormScan | RecordNormStep],
) -> tuple[dict[Role, Rule], dict[Role, Rule]]:
    """Return the rules of the spike view and of the rate view.

    Args:
        model: what will be bound.
        wiring: of that model; a synapse that only norms read needs no recorded value.
        timesteps: T.
        neuron: recorder for neurons.
        synapse: recorder for synapses.
        norm: recorder for norms.

    Raises:
        BindError: for dropout, whose mask the two passes could not share.
    """
    for path, module in model.named_modules():
        if isinstance(module, _DropoutNd) and module.p > 0:
            raise BindError(
                f"rate-based backpropagation has no rule for {type(module).__name__} at "
                f"`{path}`: its two passes would draw different masks. Set p=0, or train with "
                "bptt_m, bptt_s, sltt or ottt_a."
            )
    records: defaultdict[str, RateRecord] = defaultdict(RateRecord)
    centred = norm is not RecordNormLastStep
    spikes: dict[Role, Rule] = {
        Role.NEURON: lambda leaf, path: neuron(leaf, records[path], timesteps),
        Role.SYNAPSE: lambda leaf, path: synapse(
            leaf, records[path], timesteps, keep_value=path not in wiring.only_norms
        ),
        Role.NORM: lambda leaf, path: norm(leaf, records[path], timesteps, path),
    }
    rates: dict[Role, Rule] = {
        Role.NEURON: lambda leaf, path: ReplayNeuron(records[path], timesteps),
        Role.SYNAPSE: lambda leaf, path: ReplaySynapse(leaf, records[path]),
        Role.NORM: lambda leaf, path: ReplayNorm(leaf, records[path], centred=centred),
    }
    return spikes, rates
