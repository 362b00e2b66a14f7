"""Batch norm on mean rates, with its backward written out: keeps one tensor."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ratebp.ops import operands
from ratebp.ops.norm_replay.fused import affine, batch_norm_backward


class _NormReplay(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        c: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        xhat: Tensor,
        inv_std: Tensor,
        offset: Tensor | None,
        frozen: bool,
        value: Tensor | None,
    ) -> Tensor:
        ctx.save_for_backward(xhat, weight, inv_std, offset)
        ctx.frozen = frozen
        if value is not None:
            return value.detach()
        return affine(xhat, weight, bias).to(c.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        xhat, weight, inv_std, offset = ctx.saved_tensors
        dc, dw, db = norm_gradients(grads[0], xhat, weight, inv_std, offset, ctx.frozen)
        return dc, *wanted(ctx, dw, db), None, None, None, None, None


def wanted(ctx: Any, dw: Tensor, db: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """Return the gradients by weight and bias (inputs 1 and 2), None where nobody asks."""
    return dw if ctx.needs_input_grad[1] else None, db if ctx.needs_input_grad[2] else None


def norm_gradients(
    grad: Tensor,
    xhat: Tensor,
    weight: Tensor | None,
    inv_std: Tensor,
    offset: Tensor | None,
    frozen: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients by the norm's input, weight and bias, as in `norm_replay`."""
    scale = inv_std if weight is None else inv_std * weight
    given = grad.to(xhat.dtype)
    dc, dw, db = batch_norm_backward(given, xhat, scale, None, None, offset, frozen=frozen)
    return dc.to(grad.dtype), dw, db


def norm_replay(
    c: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    xhat: Tensor,
    inv_std: Tensor,
    *,
    offset: Tensor | None = None,
    frozen: bool = False,
    value: Tensor | None = None,
) -> Tensor:
    """Return ``weight * xhat + bias`` and pass gradients to `c` as batch norm does.

    ::

        dc = weight * inv_std * (d - mean(d) - (xhat - offset) * mean(d * xhat))
        dweight = sum(d * xhat),   dbias = sum(d)

    with sums and means over all dimensions but the channel (rate-BP, appendix B.3).

    Args:
        c: mean pre-activation ``[B, C, ...]``; takes the gradient, its value is not read.
        weight: scale ``[C]``, or None.
        bias: shift ``[C]``, or None.
        xhat: normalised mean pre-activation, shape of `c`.
        inv_std: ``[C]``, reciprocal standard deviation of the spike pass.
        offset: ``[C]``, mean of `xhat`; None where it is zero.
        frozen: the statistics are constants (a norm in eval mode): ``dc = weight * inv_std * d``.
        value: what to return as the value instead of computing it.
    """
    operands.alike("norm_replay", c, xhat=xhat, value=value)
    factors = {"weight": weight, "bias": bias, "inv_std": inv_std, "offset": offset}
    operands.channels("norm_replay", c, **factors)
    out: Tensor = _NormReplay.apply(c, weight, bias, xhat, inv_std, offset, frozen, value)
    return out
