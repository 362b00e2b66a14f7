"""Torch's batch norms in training mode, by the library's own passes over memory."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ratebp.ops import by_hand, norm_of_batch
from ratebp.rules.norm import BATCH_NORMS, normalised
from ratebp.rules.norm_input import refuse_input, uses_batch
from ratebp.views import Leaf


class BatchNorm(Leaf):
    """A batch norm for methods that have no variant of their own.

    The same function as the module, which it calls where the running statistics normalise, where
    inputs are narrower than the parameters (autocast) or have their channels last in memory, on a
    GPU, and in graphs of torch.compile.
    """

    stateful = True
    once = True

    def __init__(self, norm: nn.Module, *, follows: bool = True) -> None:
        """Take one of `BATCH_NORMS`.

        Args:
            norm: the module.
            follows: whether the running statistics follow; False in a recomputation.
        """
        super().__init__()
        assert isinstance(norm, BATCH_NORMS)
        self.norm = norm
        self.follows = follows

    def forward(self, c: Tensor) -> Tensor:
        """Return the norm's output for ``[B, C, ...]``, or all steps folded ``[T*B, C, ...]``."""
        norm = self.norm
        served = by_hand(c) and c.is_contiguous() and c.dtype.itemsize >= 4
        if not (served and uses_batch(norm)):
            return by_module(norm, c, follows=self.follows)
        with torch.no_grad():
            value, mean, inv_std = normalised(
                norm, c.detach(), norm.weight, norm.bias, follows=self.follows
            )
        return norm_of_batch(c, norm.weight, norm.bias, value, mean, inv_std)


def by_module(norm: nn.Module, c: Tensor, *, follows: bool) -> Tensor:
    """Return what a batch norm's own forward makes of `c`, unless its statistics must not follow.

    Args:
        norm: one of `BATCH_NORMS`.
        c: its input ``[N, C, ...]``.
        follows: whether the running statistics follow.
    """
    assert isinstance(norm, BATCH_NORMS)
    refuse_input(norm, c)
    if follows or not uses_batch(norm):
        out: Tensor = norm(c)
        return out
    return F.batch_norm(c, None, None, norm.weight, norm.bias, training=True, eps=norm.eps)
