"""How the input of a weight's gradient is kept until the backward, in fewer bytes than floats."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ratebp.ops.bits import unpack


@dataclass(frozen=True)
class Counts:
    """Counts of spikes in any type; the input is their mean over `parts` steps or places."""

    parts: int

    def restore(self, kept: Tensor, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        """Return ``kept / parts`` in `dtype`."""
        return kept.to(dtype, copy=True).div_(self.parts)


@dataclass(frozen=True)
class Bits:
    """Spikes packed by `ratebp.ops.bits`."""

    def restore(self, kept: Tensor, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        """Return the spikes, of `shape` and `dtype`."""
        return unpack(kept, shape, dtype)


@dataclass(frozen=True)
class AsItIs:
    """The input itself."""

    def restore(self, kept: Tensor, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        """Return `kept` in `dtype`."""
        return kept.to(dtype)


Stored = Counts | Bits | AsItIs
"""Turns what was kept back into an input of the given shape and type."""
