"""Batch norm on mean rates, with its backward written out: keeps one tensor."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


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
    ) -> Tensor:
        shape = [-1 if d == 1 else 1 for d in range(xhat.dim())]
        ctx.save_for_backward(xhat, weight, inv_std, offset)
        ctx.shape, ctx.frozen = shape, frozen
        out = xhat.clone() if weight is None else xhat * weight.view(shape)
        return (out if bias is None else out + bias.view(shape)).to(c.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        xhat, weight, inv_std, offset = ctx.saved_tensors
        shape = ctx.shape
        grad = grads[0].to(xhat.dtype)
        others = [d for d in range(xhat.dim()) if d != 1]
        sum_grad = grad.sum(others)
        sum_grad_xhat = (grad * xhat).sum(others)
        scale = inv_std if weight is None else inv_std * weight
        if ctx.frozen:
            dc = grad * scale.view(shape)
        else:
            count = grad.numel() // grad.shape[1]
            along = sum_grad_xhat / count
            shift = sum_grad / count if offset is None else sum_grad / count - offset * along
            dc = torch.addcmul(grad - shift.view(shape), xhat, along.view(shape), value=-1)
            dc = dc * scale.view(shape)
        dw = sum_grad_xhat if ctx.needs_input_grad[1] else None
        db = sum_grad if ctx.needs_input_grad[2] else None
        return dc.to(grads[0].dtype), dw, db, None, None, None, None


def norm_replay(
    c: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    xhat: Tensor,
    inv_std: Tensor,
    *,
    offset: Tensor | None = None,
    frozen: bool = False,
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
    """
    out: Tensor = _NormReplay.apply(c, weight, bias, xhat, inv_std, offset, frozen)
    return out
