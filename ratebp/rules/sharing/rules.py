"""Who shares what it keeps for the backward with whom, read from the wiring.

Leaves share where nothing but leaves and functional additions takes an output: nobody else can
change it in place. A neuron takes its current from one or two leaves, batch norms and LIFs, of
which one is a norm; or from one norm whose output only changed its shape. A synapse keeps as bits
the spikes of the one LIF before it, and as bits or bytes any input of small whole numbers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ratebp.graph import Moves
from ratebp.neurons import LIF
from ratebp.ops import Spikes, geometry_of
from ratebp.roles import Role
from ratebp.rules.handover import Handover
from ratebp.rules.neurons.exact import scan_neuron, step_neuron
from ratebp.rules.norms.batch_norm import BATCH_NORMS
from ratebp.rules.norms.inputs import as_it_is
from ratebp.rules.rate.flow import RateFlow
from ratebp.rules.sharing.leaves import SharingLIF, SharingNorm, SharingStepLIF, ShowingNeuron
from ratebp.rules.sharing.remaking import InputSynapse, RemakingNorm
from ratebp.rules.sharing.synapses import BitSynapse, CountSynapse, Packing, fits
from ratebp.rules.synapses import GatheringSynapse
from ratebp.views import Leaf, Rule
from ratebp.wiring import Wiring

MakeSharing = Callable[[LIF, Sequence[Handover], Sequence[Handover], Moves | None], Leaf]
"""``make(lif, terms, readers, moves) -> leaf``, see `SharingLIF`."""


class Sharing:
    """The rules of one view whose leaves share.

    Args:
        model: what will be bound.
        wiring: of that model.
        plain: how a neuron runs that shares nothing.
        sharing: how a LIF runs whose current comes from leaves that share; None if all run as
            `plain` says, and only synapses share.
        norm_rule: for norms that share nothing.
        gathers: whether synapses are used at many steps of one graph.
        follows: whether running statistics follow; False in a recomputation.
        reads: whether neurons read the current that the model adds up; False if they add up
            its terms.
    """

    def __init__(
        self,
        model: nn.Module,
        wiring: Wiring,
        plain: Callable[[Any], Leaf],
        sharing: MakeSharing | None = None,
        norm_rule: Rule = as_it_is,
        *,
        gathers: bool = False,
        follows: bool = True,
        reads: bool = True,
    ) -> None:
        """Start with empty records."""
        self._reads = reads
        self._modules = dict(model.named_modules())
        self._wiring = wiring
        self._plain = plain
        self._sharing = sharing
        self._norm_rule = norm_rule
        self._gathers = gathers
        self._follows = follows
        self._records: defaultdict[tuple[str, str], Handover] = defaultdict(Handover)
        self._packing = Packing()

    def rules(self) -> dict[Role, Rule]:
        """Return the rules by role; norms have one only if neurons take from them."""
        rules: dict[Role, Rule] = {Role.NEURON: self._neuron, Role.SYNAPSE: self._synapse}
        return rules if self._sharing is None else {**rules, Role.NORM: self._norm}

    def show(self, source: str, readers: Collection[str], spikes: Spikes) -> None:
        """Hand spikes of the neuron `source` to those of `readers` that would take them from it.

        For a part of the model in which that neuron does not run.
        """
        for reader in readers:
            if (source, reader) in self._records and self._takes_bits(source, reader):
                self._records[source, reader].put(spikes)

    def forget(self) -> None:
        """Drop what nobody took."""
        for record in self._records.values():
            record.take()

    def _known(self, path: str) -> bool:
        kind = type(self._modules[path])
        return path in self._wiring.readers and (kind is LIF or kind in BATCH_NORMS)

    def _moves(self, path: str) -> Moves | None:
        """Return what lies between a neuron and the norm in whose shape it runs, if it does."""
        found = self._wiring.moves.get(path)
        if found is None or self._sharing is None or type(self._modules[path]) is not LIF:
            return None
        return found if type(self._modules[found.source]) in BATCH_NORMS else None

    def _takers(self, path: str) -> frozenset[str]:
        """Return the leaves that take the output of the leaf at `path`, moved or as it is."""
        moved = (each for each, m in self._wiring.moves.items() if m.source == path)
        behind = frozenset(each for each in moved if self._moves(each) is not None)
        return self._wiring.readers.get(path, frozenset()) | behind

    def _terms(self, path: str) -> tuple[str, ...]:
        moves = self._moves(path)
        if moves is not None:
            return (moves.source,)
        sources = self._wiring.sources.get(path, ())
        takes = self._sharing is not None and type(self._modules[path]) is LIF
        alone = len(set(sources)) == len(sources)  # a term added to itself is kept once
        shared = takes and alone and len(sources) in (1, 2) and all(map(self._known, sources))
        lifs = sum(type(self._modules[s]) is LIF for s in sources) if shared else 0
        return sources if shared and lifs < len(sources) else ()

    def _takes_bits(self, path: str, reader: str) -> bool:
        if type(self._modules[path]) is not LIF or not self._known(path):
            return False
        linear = geometry_of(self._modules[reader]) is not None
        return path in self._terms(reader) or (
            linear and self._wiring.sources.get(reader) == (path,)
        )

    def _neuron(self, leaf: nn.Module, path: str) -> nn.Module:
        before = [self._records[source, path] for source in self._terms(path)]
        takers = self._wiring.readers.get(path, ())
        readers = [self._records[path, r] for r in takers if self._takes_bits(path, r)]
        if before and self._sharing is not None:
            assert isinstance(leaf, LIF)
            return self._sharing(leaf, before, readers, self._moves(path))
        made = self._plain(leaf)
        return ShowingNeuron(made, readers) if readers else made

    def _synapse(self, leaf: nn.Module, path: str) -> nn.Module:
        source = self._spikes(path)
        count = self._wiring.counts.get(path)
        if source is not None:
            leaf = BitSynapse(leaf, source)
        elif count is not None and fits(count) and geometry_of(leaf) is not None:
            leaf = CountSynapse(leaf, count, self._packing)
        return GatheringSynapse(leaf) if self._gathers else leaf

    def _spikes(self, path: str) -> Handover | None:
        """Return where the bits for the synapse at `path` arrive; None if it gets none."""
        (source, *others) = self._wiring.sources.get(path, ("",))
        alone = not others and source and self._takes_bits(source, path)
        return self._records[source, path] if alone else None

    def _norm(self, leaf: nn.Module, path: str) -> nn.Module:
        takers = sorted(self._takers(path))
        readers = [self._records[path, r] for r in takers if path in self._terms(r)]
        if not readers:
            return self._norm_rule(leaf, path)
        return SharingNorm(
            leaf, readers, follows=self._follows, added_norms=self._added_norms(path)
        )

    def _added_norms(self, path: str) -> list[_BatchNorm] | None:
        """Return the norms that are added to norm `path`; None if its value is read."""
        takers = self._takers(path)
        if self._reads or any(path not in self._terms(each) for each in takers):
            return None
        around = {source for each in takers for source in self._terms(each)}
        norms = (self._modules[each] for each in sorted(around - {path}))
        return [each for each in norms if isinstance(each, BATCH_NORMS)]


class Remaking(Sharing):
    """Sharing of bits whose norms compute their input again in the backward.

    A norm does so if its input is the output of one linear map that nobody else takes.

    Args:
        model: what will be bound.
        wiring: of that model.
        neuron: how neurons run.
    """

    def __init__(self, model: nn.Module, wiring: Wiring, neuron: Callable[[Any], Leaf]) -> None:
        """Start with empty records."""
        super().__init__(model, wiring, neuron)
        self._flow = RateFlow(model, wiring)
        self._origins: defaultdict[str, Handover] = defaultdict(Handover)

    def rules(self) -> dict[Role, Rule]:
        """Return the rules by role."""
        return {**super().rules(), Role.NORM: self._norm}

    def _remade(self, path: str) -> bool:
        return type(self._modules[path]) in BATCH_NORMS and self._flow.owned(path)

    def _synapse(self, leaf: nn.Module, path: str) -> nn.Module:
        origins = [self._origins[r] for r in self._flow.readers(path) if self._remade(r)]
        if not origins:
            return super()._synapse(leaf, path)
        (origin,) = origins
        source = self._spikes(path)
        return InputSynapse(leaf, origin) if source is None else BitSynapse(leaf, source, origin)

    def _norm(self, leaf: nn.Module, path: str) -> nn.Module:
        if not self._remade(path):
            return as_it_is(leaf, path)
        return RemakingNorm(leaf, self._origins[path])


def scan_sharing(model: nn.Module, wiring: Wiring, timesteps: int, norm_rule: Rule) -> Sharing:
    """Return the sharing of exact training of all `timesteps` at once, folded ``[T*B, ...]``."""
    return Sharing(
        model,
        wiring,
        lambda neuron: scan_neuron(neuron, timesteps),
        lambda lif, terms, readers, moves: SharingLIF(lif, timesteps, terms, readers, moves),
        norm_rule,
        reads=False,
    )


def step_sharing(
    model: nn.Module,
    wiring: Wiring,
    norm_rule: Rule,
    *,
    timesteps: int | None = None,
    follows: bool = True,
) -> Sharing:
    """Return the sharing of exact training step by step.

    Args:
        model: what will be bound.
        wiring: of that model.
        norm_rule: for norms that share nothing.
        timesteps: T, after which potentials are dropped; None where they are read afterwards.
        follows: whether running statistics follow; False in a recomputation.
    """
    return Sharing(
        model,
        wiring,
        step_neuron,
        lambda lif, terms, readers, moves: SharingStepLIF(lif, timesteps, terms, readers, moves),
        norm_rule,
        gathers=True,
        follows=follows,
    )


def bit_rules(
    model: nn.Module, wiring: Wiring, neuron: Callable[[Any], Leaf], *, gathers: bool = False
) -> dict[Role, Rule]:
    """Return rules by which synapses keep the spikes of the one neuron before them as bits.

    Args:
        model: what will be bound.
        wiring: of that model.
        neuron: how neurons run.
        gathers: whether synapses are used at many steps of one graph.
    """
    return Sharing(model, wiring, neuron, gathers=gathers).rules()
