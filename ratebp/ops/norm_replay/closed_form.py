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
        value: Tensor | None,
    ) -> Tensor:
        shape = [-1 if d == 1 else 1 for d in range(xhat.dim())]
        ctx.save_for_backward(xhat, weight, inv_std, offset)
        ctx.shape, ctx.frozen = shape, frozen
        if value is not None:
            return value.detach()
        out = xhat.clone() if weight is None else xhat * weight.view(shape)
        return (out if bias is None else out + bias.view(shape)).to(c.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        xhat, weight, inv_std, offset = ctx.saved_tensors
        shape = ctx.shape
        grad = grads[0].to(xhat.dtype)
        scale = inv_std if weight is None else inv_std * weight
        # Batch norm's own kernel with xhat as its input, which already has mean 0 and deviation 1:
        # one pass, and no temporary of the layer's size.
        zero, one = torch.zeros_like(inv_std), torch.ones_like(inv_std)
        dc, sum_grad_xhat, sum_grad = torch.ops.aten.native_batch_norm_backward(
            grad, xhat, scale, zero, one, zero, one, not ctx.frozen, 0.0, [True, True, True]
        )
        if offset is not None and not ctx.frozen:
            count = grad.numel() // grad.shape[1]
            dc.add_((scale * offset * sum_grad_xhat / count).view(shape))
        dw = sum_grad_xhat if ctx.needs_input_grad[1] else None
        db = sum_grad if ctx.needs_input_grad[2] else None
        return dc.to(grads[0].dtype), dw, db, None, None, None, None, None


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
    out: Tensor = _NormReplay.apply(c, weight, bias, xhat, inv_std, offset, frozen, value)
    return out
