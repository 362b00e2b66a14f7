"""The two rule sets of rate-based backpropagation, whose leaves pair up by path."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from ratebp.errors import BindError
from ratebp.ops import geometry_of
from ratebp.roles import Role, role_of
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
    counts: defaultdict[str, RateRecord] = defaultdict(RateRecord)
    flow = _Flow(model, wiring)
    centred = norm is not RecordNormLastStep

    def replay_neuron(leaf: Any, path: str) -> nn.Module:
        takers = [counts[p] for p in wiring.readers.get(path, ()) if flow.counted(p)]
        return ReplayNeuron(records[path], timesteps, takers, unread=flow.unread(path))

    def replay_synapse(leaf: Any, path: str) -> nn.Module:
        taken = counts[path] if flow.counted(path) else None
        return ReplaySynapse(leaf, records[path], taken, timesteps)

    spikes: dict[Role, Rule] = {
        Role.NEURON: lambda leaf, path: neuron(
            leaf, records[path], timesteps, narrow=flow.narrow(path)
        ),
        Role.SYNAPSE: lambda leaf, path: synapse(
            leaf, records[path], timesteps, keep_value=not flow.unread(path)
        ),
        Role.NORM: lambda leaf, path: norm(leaf, records[path], timesteps, path),
    }
    rates: dict[Role, Rule] = {
        Role.NEURON: replay_neuron,
        Role.SYNAPSE: replay_synapse,
        Role.NORM: lambda leaf, path: ReplayNorm(
            leaf, records[path], centred=centred, unread=flow.unread(path)
        ),
    }
    return spikes, rates


class _Flow:
    """What the wiring says about the values that pass from leaf to leaf."""

    def __init__(self, model: nn.Module, wiring: Wiring) -> None:
        """Note the roles of the leaves of `model`."""
        self._wiring = wiring
        self._modules = dict(model.named_modules())

    def _is(self, path: str, role: Role) -> bool:
        return role_of(self._modules[path]) is role

    def counted(self, path: str) -> bool:
        """Is `path` a synapse whose input is the spikes of one neuron and nothing else?"""
        sources = self._wiring.sources.get(path, ())
        known = self._is(path, Role.SYNAPSE) and geometry_of(self._modules[path]) is not None
        return known and len(sources) == 1 and self._is(sources[0], Role.NEURON)

    def narrow(self, path: str) -> bool:
        """Do only synapses, and sums with real-valued terms, take the spikes of neuron `path`?"""
        for reader in self._wiring.readers.get(path, {""}):
            sources = self._wiring.sources.get(reader, ())
            real = any(not self._is(each, Role.NEURON) for each in sources)
            if not (real or self.counted(reader)):
                return False
        return True

    def unread(self, path: str) -> bool:
        """Does nobody read the value of leaf `path` in the rate pass?

        Norms and neurons have records of their own there, and synapses where they get counts.
        """
        if path in self._wiring.only_norms:
            return True
        readers = self._wiring.readers.get(path)
        return readers is not None and all(
            self.counted(each) or not self._is(each, Role.SYNAPSE) for each in readers
        )
