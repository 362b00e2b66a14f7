"""Batch norm that keeps its input, as torch's own does, with a value that is given."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ratebp.ops import operands
from ratebp.ops.norm_replay.closed_form import wanted
from ratebp.ops.norm_replay.fused import batch_norm_backward


class _BatchNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        c: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        value: Tensor,
        mean: Tensor,
        inv_std: Tensor,
    ) -> Tensor:
        ctx.save_for_backward(c, weight, mean, inv_std)
        return value.detach()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        c, weight, mean, inv_std = ctx.saved_tensors
        dc, dw, db = batch_norm_backward(grads[0], c, weight, mean, inv_std)
        return dc, *wanted(ctx, dw, db), None, None, None


def norm_of_batch(
    c: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    value: Tensor,
    mean: Tensor,
    inv_std: Tensor,
) -> Tensor:
    """Return `value`, with the derivative of batch norm in training mode.

    Args:
        c: the norm's input, ``[N, C, ...]``.
        weight: scale ``[C]``, or None.
        bias: shift ``[C]``, or None.
        value: the norm's output, shape of `c`.
        mean: of `c`, ``[C]``.
        inv_std: reciprocal standard deviation of `c`, ``[C]``.
    """
    operands.alike("norm_of_batch", c, value=value)
    operands.channels("norm_of_batch", c, weight=weight, bias=bias, mean=mean, inv_std=inv_std)
    out: Tensor = _BatchNorm.apply(c, weight, bias, value, mean, inv_std)
    return out
