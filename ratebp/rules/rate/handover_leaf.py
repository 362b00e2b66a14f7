"""Leaves of the spike pass that pass values to each other directly, past the model's forward.

A model's forward holds a reference to every tensor that it passes on, and each addition between two
leaves allocates a new one. Where the wiring says which leaves read an output, the leaf puts it into
one `Handover` for each of them instead, and gives the forward a placeholder, one NaN. A `Handover`
drops the tensor when it is taken. So spikes stay at one byte each, a sum takes the memory of its
first real-valued term, and no tensor outlives its last reader.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ratebp.ops import pieces
from ratebp.rules.handover import Handover
from ratebp.views import Leaf


class HandoverLeaf(Leaf):
    """Wraps a leaf of the spike pass whose input or output goes through `Handover` objects."""

    stateful = True
    takes_one_step = True

    def __init__(
        self,
        leaf: Leaf,
        terms: Sequence[Handover],
        readers: Sequence[Handover],
        *,
        seen: bool,
    ) -> None:
        """Wrap `leaf`.

        Args:
            leaf: what runs.
            terms: hold the terms of its input, in their order; empty if the input comes through the
                model's forward. With two or more terms, no other leaf reads the real-valued ones,
                so the sum may overwrite one of them.
            readers: take the output, one for each leaf that reads it.
            seen: whether anything else reads the output through the model's forward.
        """
        super().__init__()
        self.leaf = leaf
        self.terms = terms
        self.readers = readers
        self.seen = seen

    def forward(self, x: Tensor) -> Tensor:
        """Return the leaf's output, or a placeholder: one NaN, with as many dimensions."""
        # No name may hold the input: what the leaf does not need should be gone while it runs.
        out: Tensor = self.leaf(self._sum() if self.terms else x)
        for each in self.readers:
            each.put(out)
        if self.seen:
            return out
        return out.new_full([1] * out.dim(), float("nan"), dtype=torch.float32)

    def _sum(self) -> Tensor:
        terms = [term for each in self.terms for term in each.take()]
        if len(terms) == 1:
            only: Tensor = terms[0]
            return only
        first = next(k for k, term in enumerate(terms) if term.is_floating_point())
        total: Tensor = terms.pop(first)
        while terms:
            # Spikes of one byte in pieces of floats: a CPU adds no mixed types in vectors.
            for into, part in pieces(0, total, terms.pop(0), most=8):
                into.add_(part.to(into.dtype))
        return total
