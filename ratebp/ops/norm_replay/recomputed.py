"""Batch norm that keeps nothing of its own: its input is computed again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ratebp.ops import operands
from ratebp.ops.norm_replay.closed_form import norm_gradients, wanted
from ratebp.ops.synapse import Geometry, Stored


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
        ctx.save_for_backward(weight, mean, inv_std, kept, by, shift)
        ctx.how = how
        if value is not None:
            return value.detach()
        return c.new_full((), float("nan")).expand(c.shape)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        weight, mean, inv_std, kept, by, shift = ctx.saved_tensors
        stored, shape, geometry, frozen = ctx.how
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
