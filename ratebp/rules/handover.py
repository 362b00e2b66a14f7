"""What one leaf hands another outside of the model's own data flow.

One leaf puts tensors into a `Handover`, another takes them out. These two are a leaf of the spike
pass and its twin (the leaf of the same path) in the rate pass, or a norm and the neuron behind it
in one pass of exact training. Taking empties the `Handover`, so no tensor outlives the step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ratebp.views import Record


def _always() -> bool:
    return True


class Handover(Record):
    """Holds tensors from the leaf that puts them until another leaf takes them in the same step.

    Attributes:
        wanted: whether the one that takes needs what is put, which it may say.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._kept: tuple[Any, ...] = ()
        self.wanted: Callable[[], bool] = _always

    def put(self, *kept: Any) -> None:
        """Keep `kept`, in place of what was put before."""
        self._kept = kept

    def drop(self) -> None:
        """Forget what was kept."""
        self._kept = ()

    def take(self) -> tuple[Any, ...]:
        """Return what was put, and forget it."""
        kept, self._kept = self._kept, ()
        return kept


def unread(like: Tensor) -> Tensor:
    """Return NaN in the shape of `like`, without memory of that size, for a value nobody reads.

    A reader that should not exist then shows immediately, since its results are NaN.
    """
    return like.new_full((), float("nan")).expand(like.shape)


def widened(dtype: torch.dtype) -> torch.dtype:
    """Return the type that statistics of `dtype` are kept in: float32 at least."""
    return torch.promote_types(dtype, torch.float32)
