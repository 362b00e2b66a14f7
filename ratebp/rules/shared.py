"""Exact training over all time steps whose leaves share what they keep for the backward.

In the readable version a convolution keeps its input spikes, a batch norm its input and a neuron
its potential: three floats a neuron and time step. Here

- the norm keeps ``xhat``, from which its backward follows;
- the neuron keeps nothing: its input is ``weight * xhat + bias``, plus, at the end of a residual
  block, spikes or another such term, and potentials follow from the input;
- spikes are kept once, at one bit each, for all synapses and neurons that take them.

The wiring says where that holds: outputs that nothing but leaves and functional additions take.
Everywhere else, and for inputs narrower than the norm's parameters (autocast), leaves keep what
they need themselves.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ratebp.neurons import LIF
from ratebp.ops import (
    Bits,
    Normalised,
    Spikes,
    geometry_of,
    lif_scan_of,
    norm_replay,
    pack,
    synapse,
)
from ratebp.roles import Role
from ratebp.rules.exact import scan_neuron
from ratebp.rules.neuron import ScanLIF
from ratebp.rules.norm import BATCH_NORMS, normalised
from ratebp.rules.record import RateRecord
from ratebp.views import Leaf, Rule
from ratebp.wiring import Wiring


class SharingNorm(Leaf):
    """A batch norm that keeps ``xhat`` and shows it to the neurons behind."""

    stateful = True

    def __init__(self, norm: nn.Module, readers: Sequence[RateRecord]) -> None:
        """Share `readers` with the neurons that take the output."""
        super().__init__()
        assert isinstance(norm, BATCH_NORMS)
        self.norm = norm
        self.readers = readers

    def forward(self, c: Tensor) -> Tensor:
        """Return the norm's output for ``[T*B, C, ...]``."""
        norm = self.norm
        full = norm.running_mean is None or norm.training
        if not full or c.dtype.itemsize < 4 or not torch.is_grad_enabled():
            plain: Tensor = norm(c)
            return plain
        with torch.no_grad():
            xhat, _, inv_std = normalised(norm, c.detach(), None, None)
        for each in self.readers:
            each.put(Normalised(xhat, norm.weight, norm.bias))
        return norm_replay(c, norm.weight, norm.bias, xhat, inv_std)


class SharingLIF(ScanLIF):
    """A LIF that takes what it needs in its backward from the leaves before it."""

    stateful = True

    def __init__(
        self,
        lif: LIF,
        timesteps: int,
        terms: Sequence[RateRecord],
        readers: Sequence[RateRecord],
    ) -> None:
        """Share records.

        Args:
            lif: the layer.
            timesteps: T.
            terms: of the leaves whose outputs add up to the current; empty if they are not known.
            readers: of the leaves that keep these spikes as bits.
        """
        super().__init__(lif, timesteps)
        self.terms = terms
        self.readers = readers

    def forward(self, current: Tensor) -> Tensor:
        """Return spikes, shape of `current`."""
        terms = tuple(term for each in self.terms for term in each.take())
        if terms and len(terms) == len(self.terms) and torch.is_grad_enabled():
            folded = current.unflatten(0, (self.timesteps, -1))
            spikes = lif_scan_of(folded, self.dynamics, terms).flatten(0, 1)
        else:
            spikes = super().forward(current)
        show(spikes, self.readers)
        return spikes


class ShowingNeuron(Leaf):
    """Any neuron, showing its spikes as bits to the synapses behind."""

    stateful = True

    def __init__(self, neuron: Leaf, readers: Sequence[RateRecord]) -> None:
        """Share `readers` with the synapses that keep these spikes as bits."""
        super().__init__()
        self.neuron = neuron
        self.readers = readers

    def forward(self, current: Tensor) -> Tensor:
        """Return the neuron's spikes."""
        spikes: Tensor = self.neuron(current)
        show(spikes, self.readers)
        return spikes


def show(spikes: Tensor, readers: Sequence[RateRecord]) -> None:
    """Hand `spikes` to the `readers`, packed once; nothing if no graph is built."""
    if readers and torch.is_grad_enabled():
        packed = Spikes(pack(spikes.detach()))
        for each in readers:
            each.put(packed)


class BitSynapse(Leaf):
    """A synapse that keeps its input spikes at one bit each."""

    stateful = True

    def __init__(self, layer: nn.Module, source: RateRecord) -> None:
        """Share `source` with the neuron before."""
        super().__init__()
        self.layer = layer
        self.source = source
        self.geometry = geometry_of(layer)

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output for spikes `x`."""
        kept = self.source.take()
        if not kept or self.geometry is None:
            out: Tensor = self.layer(x)
            return out
        weight, bias = self.layer.weight, self.layer.bias
        assert isinstance(weight, Tensor)
        assert bias is None or isinstance(bias, Tensor)
        return synapse(x, weight, bias, self.geometry, source=kept[0].bits, stored=Bits())


def sharing_rules(
    model: nn.Module, wiring: Wiring, timesteps: int, norm_rule: Rule
) -> dict[Role, Rule]:
    """Return the rules of the exact view whose leaves share.

    Args:
        model: what will be bound.
        wiring: of that model.
        timesteps: T.
        norm_rule: for norms that share nothing.
    """
    modules = dict(model.named_modules())
    records: defaultdict[tuple[str, str], RateRecord] = defaultdict(RateRecord)

    def known(path: str) -> bool:
        kind = type(modules[path])
        return path in wiring.readers and (kind is LIF or kind in BATCH_NORMS)

    def terms(path: str) -> tuple[str, ...]:
        sources = wiring.sources.get(path, ())
        is_lif = type(modules[path]) is LIF
        shared = is_lif and len(sources) in (1, 2) and all(map(known, sources))
        return sources if shared and any(type(modules[s]) is not LIF for s in sources) else ()

    def takes_bits(path: str, reader: str) -> bool:
        linear = geometry_of(modules[reader]) is not None
        return path in terms(reader) or (linear and wiring.sources.get(reader) == (path,))

    def neuron(leaf: nn.Module, path: str) -> nn.Module:
        if type(leaf) is not LIF:
            return scan_neuron(leaf, timesteps)
        before = [records[source, path] for source in terms(path)]
        readers = [records[path, r] for r in wiring.readers.get(path, ()) if takes_bits(path, r)]
        if not before and not readers:
            return ScanLIF(leaf, timesteps)
        return SharingLIF(leaf, timesteps, before, readers)

    def linear(leaf: nn.Module, path: str) -> nn.Module:
        source = next(iter(wiring.sources.get(path, ())), "")
        if source and type(modules[source]) is LIF and source in wiring.readers:
            return BitSynapse(leaf, records[source, path]) if takes_bits(source, path) else leaf
        return leaf

    def norm(leaf: nn.Module, path: str) -> nn.Module:
        takers = [records[path, r] for r in wiring.readers.get(path, ()) if path in terms(r)]
        return SharingNorm(leaf, takers) if takers else norm_rule(leaf, path)

    return {Role.NEURON: neuron, Role.SYNAPSE: linear, Role.NORM: norm}


def bit_rules(
    model: nn.Module, wiring: Wiring, neuron_rule: Callable[[LIF, str], Leaf]
) -> dict[Role, Rule]:
    """Return rules by which synapses keep the spikes of the one neuron before them as bits.

    Args:
        model: what will be bound.
        wiring: of that model.
        neuron_rule: how neurons run.
    """
    modules = dict(model.named_modules())
    records: defaultdict[str, RateRecord] = defaultdict(RateRecord)

    def takes(path: str) -> bool:
        (source, *others) = wiring.sources.get(path, ("",))
        lone = not others and source in wiring.readers and type(modules[source]) is LIF
        return lone and geometry_of(modules[path]) is not None

    def neuron(leaf: LIF, path: str) -> nn.Module:
        readers = [records[r] for r in wiring.readers.get(path, ()) if takes(r)]
        made = neuron_rule(leaf, path)
        return ShowingNeuron(made, readers) if readers else made

    def linear(leaf: nn.Module, path: str) -> nn.Module:
        return BitSynapse(leaf, records[path]) if takes(path) else leaf

    return {Role.NEURON: neuron, Role.SYNAPSE: linear}
