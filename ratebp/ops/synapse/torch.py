"""The substituted synapse for Linear and convolutions: no more arithmetic than an ordinary one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ratebp.ops.geometry import Geometry
from ratebp.ops.stored import AsItIs, Stored


class _Synapse(torch.autograd.Function):
    """`synapse`; keeps the source of the weight gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        source: Tensor | None,
        value: Tensor | None,
        bias_scale: Tensor | None,
        geometry: Geometry,
        stored: Stored,
    ) -> Tensor:
        at = x if source is None else source
        # Of a weight that needs no gradient, no input is kept.
        ctx.save_for_backward(at if ctx.needs_input_grad[1] else None, weight, bias_scale)
        ctx.geometry, ctx.stored, ctx.shape = geometry, stored, x.shape
        ctx.x_dtype = x.dtype
        ctx.bias_dtype = None if bias is None else bias.dtype
        if value is not None:
            return value.detach()  # not a view, so that a model may add to it in place
        return geometry.apply(x, weight.to(x.dtype), None if bias is None else bias.to(x.dtype))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        at, weight, bias_scale = ctx.saved_tensors
        (grad,) = grads
        wants = ctx.needs_input_grad
        # Under autocast the value is narrower than x and the weight: compute as the forward did.
        dx, dw = ctx.geometry.gradients(
            grad,
            ctx.stored.restore(at, ctx.shape, grad.dtype) if wants[1] else None,
            ctx.shape,
            weight.to(grad.dtype),
            (wants[0], wants[1]),
        )
        db = None
        if wants[2]:
            db = grad.sum(ctx.geometry.all_but_channel(grad.dim()), dtype=ctx.bias_dtype)
            db = db if bias_scale is None else db * bias_scale
        return (
            None if dx is None else dx.to(ctx.x_dtype),
            None if dw is None else dw.to(weight.dtype),
            db,
            None,
            None,
            None,
            None,
            None,
        )


def synapse(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Geometry,
    *,
    source: Tensor | None = None,
    stored: Stored = AsItIs(),  # noqa: B008
    value: Tensor | None = None,
    bias_scale: Tensor | None = None,
) -> Tensor:
    """Return the map of `x`, like `naive_synapse`, keeping at most one input for the backward.

    A weight that needs no gradient has none kept.

    ::

        y = W x + b  (or `value`)
        dL/dx = W^T d,   dL/dW = d source^T,   dL/db = bias_scale * sum(d)

    Args:
        x: input ``[B, ...]``.
        weight: the layer's weight.
        bias: the layer's bias, or None.
        geometry: which linear map it is.
        source: the input that the weight's gradient is taken at, None for `x`.
        stored: how to make an input of the shape of `x` of `source`.
        value: the value to return instead of computing it.
        bias_scale: 0-dim factor on the bias gradient; None for 1.
    """
    if value is None and x.dtype == torch.float32 and torch.is_autocast_enabled(x.device.type):
        x = x.to(torch.get_autocast_dtype(x.device.type))
    out: Tensor = _Synapse.apply(x, weight, bias, source, value, bias_scale, geometry, stored)
    return out
