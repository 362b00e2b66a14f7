"""What a leaf of rate-based backpropagation hands from its spike pass to its rate pass.

The two passes are two views. A leaf of the spike view and its twin in the rate view share one
`RateRecord` and nothing else: the spike pass fills it, the rate pass takes it, so that no tensor
outlives the step.
"""

from __future__ import annotations

import torch
from torch import Tensor


class RateRecord:
    """The tensors that one leaf keeps between the two passes."""

    def __init__(self) -> None:
        """Start empty."""
        self._kept: tuple[Tensor, ...] = ()

    def put(self, *tensors: Tensor) -> None:
        """Keep `tensors`, in place of what was kept before."""
        self._kept = tensors

    def take(self) -> tuple[Tensor, ...]:
        """Hand the tensors over and forget them."""
        kept, self._kept = self._kept, ()
        return kept


def unread(like: Tensor) -> Tensor:
    """Return NaN in the shape of `like`, without memory of that size, for a value nobody reads.

    A wrong reader shows at once.
    """
    return like.new_full((), float("nan")).expand(like.shape)


def widened(dtype: torch.dtype) -> torch.dtype:
    """Return the type that statistics of `dtype` are kept in: float32 at least."""
    return torch.promote_types(dtype, torch.float32)
