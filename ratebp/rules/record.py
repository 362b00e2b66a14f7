"""What a leaf of rate-based backpropagation hands from its spike pass to its rate pass.

The two passes are two views. A leaf of the spike view and its twin in the rate view share one
`RateRecord` and nothing else: the spike pass fills it, the rate pass takes it, so that no tensor
outlives the step.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ratebp.views import Record


class RateRecord(Record):
    """What one leaf keeps for another that runs later in the same step."""

    def __init__(self) -> None:
        """Start empty."""
        self._kept: tuple[Any, ...] = ()

    def put(self, *kept: Any) -> None:
        """Keep these, in place of what was kept before."""
        self._kept = kept

    def drop(self) -> None:
        """Forget what was kept."""
        self._kept = ()

    def take(self) -> tuple[Any, ...]:
        """Hand them over and forget them."""
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
