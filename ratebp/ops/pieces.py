"""Large tensors in pieces, so that temporaries of an operation are a fraction of its operands."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

_NUMBER = 4
_LARGE = 1 << 18  # elements; below, a piece costs more time than its temporaries are worth


def pieces(dim: int, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Split `tensors` alike along `dim` if the first is large; 0-dim ones go to every piece.

    "Large" is the size of one slice of the dimensions from `dim` on. Under torch.compile, which
    fuses temporaries away, everything is one piece.
    """
    large = tensors[0].shape[dim:].numel() >= _LARGE
    number = _NUMBER if large and not torch.compiler.is_compiling() else 1
    split = [t.tensor_split(number, dim) if t.dim() else (t,) * number for t in tensors]
    return zip(*split, strict=True)
