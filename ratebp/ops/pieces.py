"""Large tensors in pieces, so that temporaries of an operation are a fraction of its operands."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

_LARGE = 1 << 20  # elements; below, a piece costs more time than its temporaries are worth


def pieces(dim: int, *tensors: Tensor, most: int = 2) -> Iterator[tuple[Tensor, ...]]:
    """Split `tensors` alike along `dim`, the finer the larger; 0-dim ones go to each piece.

    What counts is the elements of one slice of the dimensions from `dim` on, not their bytes: the
    temporaries of narrow spikes are floats. Under torch.compile, which fuses temporaries away,
    everything is one piece.

    Args:
        dim: along which to split.
        tensors: of which the first tells the size.
        most: pieces of the largest tensors.
    """
    size = tensors[0].shape[dim:].numel()
    number = 1 if torch.compiler.is_compiling() else min(most, 1 + size // _LARGE)
    split = [t.tensor_split(number, dim) if t.dim() else (t,) * number for t in tensors]
    return zip(*split, strict=True)
