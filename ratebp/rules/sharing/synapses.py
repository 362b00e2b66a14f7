"""Synapses that keep spikes and counts in bits and bytes, and what neurons show them."""

from __future__ import annotations

import weakref
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ratebp.graph import Count
from ratebp.ops import Bits, Counts, Origin, Spikes, geometry_of, pack, synapse
from ratebp.rules.convolutions import frozen
from ratebp.rules.handover import Handover
from ratebp.views import Leaf


def show(spikes: Tensor, readers: Sequence[Handover]) -> None:
    """Hand `spikes` to the `readers`, packed once; nothing if no backward needs them."""
    wanted = [each for each in readers if each.wanted()] if torch.is_grad_enabled() else []
    if wanted:
        packed = Spikes(pack(spikes.detach()))
        for each in wanted:
            each.put(packed)


def fits(count: Count) -> bool:
    """Say whether the whole numbers of `count` fit into one byte."""
    return count.largest <= torch.iinfo(torch.uint8).max


class Packing:
    """What synapses keep of signals of small whole numbers: made once where they take the same."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._signal: weakref.ref[Tensor] | None = None
        self._kept: Tensor | None = None

    def of(self, x: Tensor, count: Count) -> Tensor:
        """Return the whole numbers of `x`: as bits where they are 0 and 1, else as bytes."""
        if self._signal is None or self._signal() is not x:
            with torch.no_grad():
                whole = x if count.parts == 1 else x * count.parts
                self._kept = pack(whole) if count.largest == 1 else whole.to(torch.uint8)
            # Nothing is held here for longer than the signal itself.
            self._signal = weakref.ref(x, self._forget)
        assert self._kept is not None
        return self._kept

    def _forget(self, signal: weakref.ref[Tensor]) -> None:
        if signal is self._signal:
            self._signal = self._kept = None


class CountSynapse(Leaf):
    """A synapse whose input are spikes, or sums or averages of them, kept as bits or as bytes."""

    takes_one_step = True

    def __init__(self, layer: nn.Module, count: Count, packing: Packing) -> None:
        """Take the layer.

        Args:
            layer: the synapse.
            count: what values its input has.
            packing: of the synapses of this view.
        """
        super().__init__()
        self.layer = layer
        self.count = count
        self.packing = packing
        self.geometry = geometry_of(layer)

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output."""
        plain = torch.compiler.is_compiling() or not torch.is_grad_enabled()
        if self.geometry is None or plain or frozen(self.layer):
            out: Tensor = self.layer(x)
            return out
        weight, bias = self.layer.weight, self.layer.bias
        assert isinstance(weight, Tensor)
        assert bias is None or isinstance(bias, Tensor)
        kept = self.packing.of(x, self.count)
        stored = Bits() if self.count.largest == 1 else Counts(self.count.parts)
        return synapse(x, weight, bias, self.geometry, source=kept, stored=stored)


class BitSynapse(Leaf):
    """A synapse that keeps its input spikes at one bit each."""

    stateful = True

    def __init__(self, layer: nn.Module, source: Handover, origin: Handover | None = None) -> None:
        """Share records.

        Args:
            layer: the synapse.
            source: of the neuron before.
            origin: where the norm behind finds how to compute this output again; None where none
                asks.
        """
        super().__init__()
        self.layer = layer
        self.source = source
        self.origin = origin
        self.geometry = geometry_of(layer)
        source.wanted = self._wants

    def _wants(self) -> bool:
        return self.origin is not None or not frozen(self.layer)

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output for spikes `x`."""
        kept = self.source.take()
        if not kept or self.geometry is None:
            out: Tensor = self.layer(x)
            return out
        weight, bias = self.layer.weight, self.layer.bias
        assert isinstance(weight, Tensor)
        assert bias is None or isinstance(bias, Tensor)
        bits = kept[0].bits
        if self.origin is not None:
            self.origin.put(Origin(bits, Bits(), x.shape, weight, bias, self.geometry))
        return synapse(x, weight, bias, self.geometry, source=bits, stored=Bits())
