"""The two views of rate-based backpropagation, whose leaves pair up by path."""

from __future__ import annotations

from collections import defaultdict

from torch import nn

from ratebp.bindable import Bindable
from ratebp.neurons import LIF
from ratebp.roles import Role
from ratebp.rules.handover import Handover
from ratebp.rules.rate.embeddings import embedding_pairs
from ratebp.rules.rate.flow import RateFlow
from ratebp.rules.rate.handover_leaf import HandoverLeaf
from ratebp.rules.rate.neurons import RecordNeuronScan, RecordNeuronStep, ReplayNeuron
from ratebp.rules.rate.norms import (
    RecordNormLastStep,
    RecordNormScan,
    RecordNormStep,
    RecordStatistics,
    ReplayNorm,
    ReplayRecomputedNorm,
)
from ratebp.rules.rate.synapses import RecordSynapseScan, RecordSynapseStep, ReplaySynapse
from ratebp.views import Folded, Leaf, Rule, View


def rate_views(
    binding: Bindable,
    neuron: type[RecordNeuronScan | RecordNeuronStep],
    synapse: type[RecordSynapseScan | RecordSynapseStep],
    norm: type[RecordNormScan | RecordNormStep],
    *,
    recompute: bool = False,
) -> dict[str, View]:
    """Return the views "spikes" (without a graph) and "rates"; twin leaves share their records.

    Args:
        binding: the model and T. Its wiring says which leaf reads which output; that decides
            whether a value is kept, and in which form.
        neuron: recorder for neurons.
        synapse: recorder for synapses.
        norm: recorder for norms.
        recompute: whether norms behind a synapse compute their input again in the backward, from
            the spike count that the synapse keeps, instead of keeping it.
    """
    flow = RateFlow(binding.model, binding.wiring)
    leaves = _LeafFactory(flow, binding.timesteps, neuron, synapse, norm, recompute=recompute)
    spikes: dict[Role, Rule] = {
        Role.NEURON: leaves.record_neuron,
        Role.SYNAPSE: leaves.record_synapse,
        Role.NORM: leaves.record_norm,
    }
    rates: dict[Role, Rule] = {
        Role.NEURON: leaves.replay_neuron,
        Role.SYNAPSE: leaves.replay_synapse,
        Role.NORM: leaves.replay_norm,
    }
    folded = issubclass(neuron, Folded)
    found = binding.wiring.embeddings
    first, second = embedding_pairs(found, binding.timesteps, folded=folded)
    return {
        "spikes": binding.view(spikes, containers=first, builds_graph=False),
        "rates": binding.view(rates, containers=second),
    }


class _LeafFactory:
    """Makes the leaves of the two views, and the records that they share."""

    def __init__(
        self,
        flow: RateFlow,
        timesteps: int,
        neuron: type[RecordNeuronScan | RecordNeuronStep],
        synapse: type[RecordSynapseScan | RecordSynapseStep],
        norm: type[RecordNormScan | RecordNormStep],
        *,
        recompute: bool,
    ) -> None:
        """Start with empty records."""
        self.flow = flow
        self.timesteps = timesteps
        self.neuron = neuron
        self.synapse = synapse
        self.norm = norm
        self.recompute = recompute
        self.records: defaultdict[str, Handover] = defaultdict(Handover)
        self._counts: defaultdict[str, Handover] = defaultdict(Handover)
        self._origins: defaultdict[str, Handover] = defaultdict(Handover)
        self._handed: defaultdict[tuple[str, str], Handover] = defaultdict(Handover)

    def _remade(self, path: str) -> bool:
        return self.recompute and self.flow.remakable(path)

    def _handing_over(self, leaf: Leaf, path: str) -> Leaf:
        terms = [self._handed[source, path] for source in self.flow.terms(path)]
        takers = self.flow.takers(path)
        if not terms and not takers:
            return leaf
        readers = [self._handed[path, taker] for taker in sorted(takers)]
        return HandoverLeaf(
            leaf, terms, readers, seen=not takers or takers != self.flow.readers(path)
        )

    def record_neuron(self, leaf: LIF, path: str) -> nn.Module:
        """Return the neuron of the spike view."""
        narrow = self.flow.narrow(path)
        return self._handing_over(
            self.neuron(leaf, self.records[path], self.timesteps, narrow=narrow), path
        )

    def record_synapse(self, leaf: nn.Module, path: str) -> nn.Module:
        """Return the synapse of the spike view."""
        keep = not self.flow.unread(path)
        return self._handing_over(
            self.synapse(leaf, self.records[path], self.timesteps, keep_value=keep), path
        )

    def record_norm(self, leaf: nn.Module, path: str) -> nn.Module:
        """Return the norm of the spike view."""
        kind = RecordStatistics if self._remade(path) else self.norm
        owned = self.flow.owned(path)
        return self._handing_over(
            kind(leaf, self.records[path], self.timesteps, path, in_place=owned), path
        )

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
