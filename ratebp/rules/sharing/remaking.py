"""Batch norms that keep nothing and recompute their input from what the synapse before keeps."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ratebp.ops import AsItIs, Origin, geometry_of, norm_recomputed
from ratebp.rules.handover import Handover
from ratebp.rules.norms.batch_norm import BATCH_NORMS, normalised
from ratebp.rules.norms.inputs import refuse_input, uses_batch
from ratebp.views import Leaf


class InputSynapse(Leaf):
    """A synapse that keeps its input as it is, and tells the norm behind."""

    stateful = True

    def __init__(self, layer: nn.Module, origin: Handover) -> None:
        """Share `origin`, where the norm behind finds how to compute this output again."""
        super().__init__()
        self.layer = layer
        self.origin = origin
        self.geometry = geometry_of(layer)

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output."""
        if torch.is_grad_enabled() and self.geometry is not None:
            weight, bias = self.layer.weight, self.layer.bias
            assert isinstance(weight, Tensor)
            assert bias is None or isinstance(bias, Tensor)
            self.origin.put(Origin(x.detach(), AsItIs(), x.shape, weight, bias, self.geometry))
        out: Tensor = self.layer(x)
        return out


class RemakingNorm(Leaf):
    """A batch norm that keeps no input: its backward computes it again."""

    stateful = True

    def __init__(self, norm: nn.Module, origin: Handover) -> None:
        """Share `origin` with the synapse before, whose output nobody else takes."""
        super().__init__()
        assert isinstance(norm, BATCH_NORMS)
        self.norm = norm
        self.origin = origin

    def forward(self, c: Tensor) -> Tensor:
        """Return the norm's output for ``[B, C, ...]``; it takes the memory of `c`."""
        norm = self.norm
        found = self.origin.take()
        if not found or c.dtype.itemsize < 4 or torch.compiler.is_compiling():
            refuse_input(norm, c)
            plain: Tensor = norm(c)
            return plain
        with torch.no_grad():
            value, mean, inv_std = normalised(
                norm, c.detach(), norm.weight, norm.bias, in_place=True
            )
        return norm_recomputed(
            c,
            norm.weight,
            norm.bias,
            mean,
            inv_std,
            found[0],
            frozen=not uses_batch(norm),
            value=value,
        )
