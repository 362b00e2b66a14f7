"""Batch norm that keeps its input, as torch's own does, with a value that is given."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


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
        wanted = list(ctx.needs_input_grad[:3])
        dc, dw, db = torch.ops.aten.native_batch_norm_backward(
            grads[0], c, weight, None, None, mean, inv_std, True, 0.0, wanted
        )
        return (
            *(each if asked else None for each, asked in zip((dc, dw, db), wanted, strict=True)),
            None,
            None,
            None,
        )


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
    out: Tensor = _BatchNorm.apply(c, weight, bias, value, mean, inv_std)
    return out
