"""Batch norm in plain torch, differentiated by autograd."""

from __future__ import annotations

import torch
from torch import Tensor


def naive_batch_norm(
    c: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the normalised `c`, and its mean, biased variance and ``1 / sqrt(variance + eps)``.

    Args:
        c: ``[N, C, ...]``.
        weight: scale ``[C]``, or None.
        bias: shift ``[C]``, or None.
        eps: added to the variance.
    """
    others = [d for d in range(c.dim()) if d != 1]
    shape = [-1 if d == 1 else 1 for d in range(c.dim())]
    mean = c.mean(others)
    centred = c - mean.view(shape)
    variance = centred.square().mean(others)
    inv_std = torch.rsqrt(variance + eps)
    out = centred * inv_std.view(shape)
    out = out if weight is None else out * weight.view(shape)
    return out if bias is None else out + bias.view(shape), mean, variance, inv_std
