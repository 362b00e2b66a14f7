"""Torch's batch norms in training mode, by the library's own passes over memory."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ratebp.ops import batch_norm, by_hand, norm_of_batch
from ratebp.rules.norms.inputs import as_torch, refuse_input, uses_batch
from ratebp.views import Leaf

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def normalised(
    norm: _BatchNorm,
    c: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    *,
    in_place: bool = False,
    follows: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return ``norm(c)`` and the mean and reciprocal standard deviation that it used, ``[C]``.

    Same as the module's forward with this `weight` and `bias`, running statistics included, but
    the statistics come out too instead of being computed twice. Call it without a graph.

    Args:
        norm: the module.
        c: its input ``[N, C, ...]``.
        weight: scale ``[C]``, or None.
        bias: shift ``[C]``, or None.
        in_place: whether the result may take the memory of `c`.
        follows: whether running statistics follow, as the module's do; False in a recomputation.
    """
    refuse_input(norm, c)
    if not uses_batch(norm):
        assert norm.running_mean is not None
        assert norm.running_var is not None
        mean, var = norm.running_mean, norm.running_var
        out = F.batch_norm(c, mean, var, weight, bias, False, 0.0, norm.eps)
        return out, mean, torch.rsqrt(var + norm.eps)
    update = follows and norm.training and norm.running_mean is not None
    momentum = norm.momentum
    if update and norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
        if momentum is None:
            momentum = 1.0 / float(norm.num_batches_tracked)
    running = (norm.running_mean, norm.running_var) if update else (None, None)
    if c.dtype.itemsize < 4 or not by_hand(c):
        out, mean, inv_std = torch.native_batch_norm(
            c, weight, bias, *running, True, momentum or 0.0, norm.eps
        )
        return out, mean, inv_std
    out, mean, variance, inv_std = batch_norm(c, weight, bias, norm.eps, in_place=in_place)
    count = c.numel() // c.shape[1]
    _move(running[0], mean, momentum)
    _move(running[1], variance * (count / max(count - 1, 1)), momentum)
    return out, mean, inv_std


def _move(running: Tensor | None, now: Tensor, momentum: float | None) -> None:
    if running is not None and momentum is not None:
        running.mul_(1 - momentum).add_(now, alpha=momentum)


class BatchNorm(Leaf):
    """A batch norm for methods that have no variant of their own.

    The same function as the module, which it calls where the running statistics normalise, where
    inputs are narrower than the parameters (autocast) or have their channels last in memory, on a
    GPU, and in graphs of torch.compile.
    """

    stateful = True
    takes_one_step = True

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
        return as_torch(norm, c)
    return F.batch_norm(c, None, None, norm.weight, norm.bias, training=True, eps=norm.eps)
