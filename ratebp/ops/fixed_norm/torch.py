"""Batch norm by constant statistics that keeps no input, for a weight that needs no gradient."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ratebp.ops import operands


class _FixedNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        c: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        variance: Tensor,
        eps: float,
    ) -> Tensor:
        ctx.save_for_backward(weight, mean, variance)
        ctx.eps = eps
        return F.batch_norm(c, mean, variance, weight, bias, training=False, eps=eps)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        weight, mean, variance = ctx.saved_tensors
        (grad,) = grads
        by_input, _, by_bias, *_ = ctx.needs_input_grad
        # In place of the input: any values serve, as nobody reads what they decide.
        dc, _, db = torch.ops.aten.native_batch_norm_backward(
            grad, grad, weight, mean, variance, None, None, False, ctx.eps,
            [by_input, False, by_bias],
        )  # fmt: skip
        return dc, None, db, None, None, None


def fixed_norm(
    c: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    eps: float,
) -> Tensor:
    """Return batch norm by constant statistics, which keeps no input: for a frozen weight.

    ::

        out = weight * (c - mean) / sqrt(variance + eps) + bias,   dbias = sum(d)

    Args:
        c: the norm's input, ``[N, C, ...]``.
        weight: scale ``[C]`` that needs no gradient, or None.
        bias: shift ``[C]``, or None.
        mean: ``[C]``.
        variance: ``[C]``.
        eps: added to the variance.
    """
    operands.channels("fixed_norm", c, weight=weight, bias=bias, mean=mean, variance=variance)
    out: Tensor = _FixedNorm.apply(c, weight, bias, mean, variance, eps)
    return out
