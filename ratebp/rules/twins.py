"""The two rule sets of rate-based backpropagation, whose leaves pair up by path."""

from __future__ import annotations

from collections import defaultdict

from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from ratebp.errors import BindError
from ratebp.ops import geometry_of
from ratebp.roles import Role, role_of
from ratebp.rules.neuron import RecordNeuronScan, RecordNeuronStep, ReplayNeuron
from ratebp.rules.norm import (
    RecordNormLastStep,
    RecordNormScan,
    RecordNormStep,
    RecordStatistics,
    ReplayNorm,
    ReplayRecomputedNorm,
)
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
    *,
    recompute: bool = False,
) -> tuple[dict[Role, Rule], dict[Role, Rule]]:
    """Return the rules of the spike view and of the rate view.

    Args:
        model: what will be bound.
        wiring: of that model: who reads what decides in which form it is kept, and whether at all.
        timesteps: T.
        neuron: recorder for neurons.
        synapse: recorder for synapses.
        norm: recorder for norms.
        recompute: whether norms behind a synapse compute their input again in the backward, from
            the spike count that the synapse keeps, instead of keeping it.

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
    twins = _Twins(_Flow(model, wiring), timesteps, norm, recompute=recompute)
    records = twins.records
    flow = twins.flow
    spikes: dict[Role, Rule] = {
        Role.NEURON: lambda leaf, path: neuron(
            leaf, records[path], timesteps, narrow=flow.narrow(path)
        ),
        Role.SYNAPSE: lambda leaf, path: synapse(
            leaf, records[path], timesteps, keep_value=not flow.unread(path)
        ),
        Role.NORM: twins.record_norm,
    }
    rates: dict[Role, Rule] = {
        Role.NEURON: twins.replay_neuron,
        Role.SYNAPSE: twins.replay_synapse,
        Role.NORM: twins.replay_norm,
    }
    return spikes, rates


class _Twins:
    """Makes the leaves of the two views, and the records that they share."""

    def __init__(
        self,
        flow: _Flow,
        timesteps: int,
        norm: type[RecordNormScan | RecordNormStep],
        *,
        recompute: bool,
    ) -> None:
        """Start with empty records."""
        self.flow = flow
        self.timesteps = timesteps
        self.norm = norm
        self.recompute = recompute
        self.records: defaultdict[str, RateRecord] = defaultdict(RateRecord)
        self._counts: defaultdict[str, RateRecord] = defaultdict(RateRecord)
        self._origins: defaultdict[str, RateRecord] = defaultdict(RateRecord)

    def _remade(self, path: str) -> bool:
        return self.recompute and self.flow.remakable(path)

    def record_norm(self, leaf: nn.Module, path: str) -> nn.Module:
        """Return the norm of the spike view."""
        kind = RecordStatistics if self._remade(path) else self.norm
        return kind(leaf, self.records[path], self.timesteps, path)

    def replay_neuron(self, leaf: nn.Module, path: str) -> nn.Module:
        """Return the neuron of the rate view."""
        counts = [self._counts[p] for p in self.flow.readers(path) if self.flow.counted(p)]
        return ReplayNeuron(
            self.records[path], self.timesteps, counts, unread=self.flow.unread(path)
        )

    def replay_synapse(self, leaf: nn.Module, path: str) -> nn.Module:
        """Return the synapse of the rate view."""
        counts = self._counts[path] if self.flow.counted(path) else None
        norms = [p for p in self.flow.readers(path) if self._remade(p)]
        origin = self._origins[norms[0]] if norms else None
        return ReplaySynapse(leaf, self.records[path], self.timesteps, counts, origin)

    def replay_norm(self, leaf: nn.Module, path: str) -> nn.Module:
        """Return the norm of the rate view."""
        record = self.records[path]
        if self._remade(path):
            return ReplayRecomputedNorm(leaf, record, self._origins[path])
        centred = self.norm is not RecordNormLastStep
        return ReplayNorm(leaf, record, centred=centred, unread=self.flow.unread(path))


class _Flow:
    """What the wiring says about the values that pass from leaf to leaf."""

    def __init__(self, model: nn.Module, wiring: Wiring) -> None:
        """Note the roles of the leaves of `model`."""
        self._wiring = wiring
        self._modules = dict(model.named_modules())

    def _is(self, path: str, role: Role) -> bool:
        return role_of(self._modules[path]) is role

    def readers(self, path: str) -> frozenset[str]:
        """Return the known readers of leaf `path`."""
        return self._wiring.readers.get(path, frozenset())

    def _linear(self, path: str) -> bool:
        known = self._is(path, Role.SYNAPSE)
        return known and geometry_of(self._modules[path]) is not None

    def remakable(self, path: str) -> bool:
        """Can norm `path`, of value unread, compute its input from what one synapse keeps?"""
        sources = self._wiring.sources.get(path, ())
        return (
            len(sources) == 1
            and self._linear(sources[0])
            and self.readers(sources[0]) == {path}
            and self.unread(path)
        )

    def counted(self, path: str) -> bool:
        """Is `path` a synapse whose input is the spikes of one neuron and nothing else?"""
        sources = self._wiring.sources.get(path, ())
        lone = self._linear(path) and len(sources) == 1
        return lone and sources[0] in self._wiring.readers and self._is(sources[0], Role.NEURON)

    def narrow(self, path: str) -> bool:
        """Do only synapses, and sums with real-valued terms, take the spikes of neuron `path`?"""
        return path in self._wiring.readers and all(
            self.counted(reader)
            or any(not self._is(each, Role.NEURON) for each in self._wiring.sources.get(reader, ()))
            for reader in self.readers(path)
        )

    def unread(self, path: str) -> bool:
        """Does nobody read the value of leaf `path` in the rate pass?

        Norms and neurons have records of their own there, and synapses where they get counts.
        """
        if path in self._wiring.only_norms:
            return True
        return path in self._wiring.readers and all(
            self.counted(each) or not self._is(each, Role.SYNAPSE) for each in self.readers(path)
        )
