"""Leaves of the spike pass whose values travel beside the model's own tensors.

The frames of a running model hold every tensor that passes through them, and an addition between
two leaves makes a new one. Where the wiring knows who takes a leaf's output, the leaf hands it to
them in records instead, each of which lets go of it when it is taken; through the model goes a
token of one NaN. So spikes stay in one byte, a sum is made in the memory of its first real-valued
term, and nothing outlives its last reader.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ratebp.ops import pieces
from ratebp.rules.handover import Handover
from ratebp.views import Leaf


class HandoverLeaf(Leaf):
    """A leaf of the spike pass that takes its input from records, or hands its output to some."""

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
            terms: where the terms of its input arrive, in their order; empty if the input comes
                through the model. With two or more, the real-valued ones belong to this leaf alone.
            readers: who takes the output.
            seen: whether anybody else takes it, from the model.
        """
        super().__init__()
        self.leaf = leaf
        self.terms = terms
        self.readers = readers
        self.seen = seen

    def forward(self, x: Tensor) -> Tensor:
        """Return the leaf's output, or a token of one NaN with as many dimensions."""
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
