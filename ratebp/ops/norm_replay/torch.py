"""Batch norm on mean rates with its backward written out: from `xhat`, its input, or neither."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ratebp.ops import operands
from ratebp.ops.batch_norm.fused import affine, batch_norm_backward
from ratebp.ops.geometry import Geometry
from ratebp.ops.stored import Stored


class _NormReplay(torch.autograd.Function):
    """`norm_replay`; keeps `xhat`."""

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
        needed = _needs_input(ctx, frozen)
        ctx.save_for_backward(xhat if needed else None, weight, inv_std, offset)
        ctx.frozen, ctx.dtype = frozen, xhat.dtype
        if value is not None:
            return value.detach()
        return affine(xhat, weight, bias).to(c.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        xhat, weight, inv_std, offset = ctx.saved_tensors
        if xhat is None:
            xhat = grads[0].to(ctx.dtype)  # any values serve: nobody reads what they decide
        dc, dw, db = norm_gradients(grads[0], xhat, weight, inv_std, offset, ctx.frozen)
        return dc, *wanted(ctx, dw, db), None, None, None, None, None


def _needs_input(ctx: Any, frozen: bool) -> bool:
    """Does a gradient that is asked for depend on the norm's input?

    That by the weight does, and that by the input itself unless the statistics are constants.
    """
    by_input, by_weight, *_ = ctx.needs_input_grad
    return by_weight or (by_input and not frozen)


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


class _BatchNormFunction(torch.autograd.Function):
    """`norm_of_batch`; keeps the norm's input."""

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
        needed = _needs_input(ctx, frozen=False)
        ctx.save_for_backward(c if needed else None, weight, mean, inv_std)
        return value.detach()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        c, weight, mean, inv_std = ctx.saved_tensors
        c = grads[0] if c is None else c  # any values serve for the gradient by the bias
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
    out: Tensor = _BatchNormFunction.apply(c, weight, bias, value, mean, inv_std)
    return out


@dataclass(frozen=True)
class Origin:
    """How to compute a pre-activation, or its mean: a linear map of an input that is kept anyway.

    Attributes:
        kept: the input as it is kept.
        stored: how to make the input of it.
        shape: of the input.
        weight: of the map.
        bias: of the map.
        geometry: of the map.
    """

    kept: Tensor
    stored: Stored
    shape: torch.Size
    weight: Tensor
    bias: Tensor | None
    geometry: Geometry


class _NormRecomputed(torch.autograd.Function):
    """`norm_recomputed`; the backward recomputes `xhat` from the origin."""

    @staticmethod
    def forward(
        ctx: Any,
        c: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        inv_std: Tensor,
        kept: Tensor,
        by: Tensor,
        shift: Tensor | None,
        how: tuple[Any, ...],
        value: Tensor | None,
    ) -> Tensor:
        *_, frozen = how
        needed = _needs_input(ctx, frozen)
        ctx.save_for_backward(weight, mean, inv_std, kept if needed else None, by, shift)
        ctx.how = how
        if value is not None:
            return value.detach()
        return c.new_full((), float("nan")).expand(c.shape)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        weight, mean, inv_std, kept, by, shift = ctx.saved_tensors
        stored, shape, geometry, frozen = ctx.how
        if kept is None:
            xhat = grads[0].to(by.dtype)  # any values serve: nobody reads what they decide
        else:
            source = stored.restore(kept, shape, by.dtype)
            xhat = geometry.apply(source, by, shift)
            del source
            operands.alike("norm_recomputed", grads[0], origin=xhat)  # whatever the norm was given
            channel = [-1 if d == 1 else 1 for d in range(xhat.dim())]
            xhat = xhat.sub_(mean.view(channel)).mul_(inv_std.view(channel))
        dc, dw, db = norm_gradients(grads[0], xhat, weight, inv_std, None, frozen)
        return dc, *wanted(ctx, dw, db), None, None, None, None, None, None, None


def norm_recomputed(
    c: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor,
    inv_std: Tensor,
    origin: Origin,
    *,
    frozen: bool = False,
    value: Tensor | None = None,
) -> Tensor:
    """Pass gradients as `norm_replay` does, with ``xhat = (W r + b - mean) * inv_std`` made anew.

    Args:
        c: pre-activation ``[B, C, ...]``; takes the gradient, its value is not read.
        weight: scale ``[C]``, or None.
        bias: shift ``[C]``, or None.
        mean: ``[C]``, of the spike pass, such that ``xhat`` has mean 0.
        inv_std: ``[C]``, reciprocal standard deviation of the spike pass.
        origin: where `c` comes from.
        frozen: the statistics are constants.
        value: the output, of the shape of `c`; None where no reader reads it.

    Returns:
        `value`, or NaN of stride 0 in the shape of `c`.
    """
    operands.alike("norm_recomputed", c, value=value)
    operands.channels("norm_recomputed", c, weight=weight, bias=bias, mean=mean, inv_std=inv_std)
    how = (origin.stored, origin.shape, origin.geometry, frozen)
    out: Tensor = _NormRecomputed.apply(
        c, weight, bias, mean, inv_std, origin.kept, origin.weight, origin.bias, how, value
    )
    return out
