"""Batch norm without a graph, by reductions that a CPU vectorises, in place if allowed.

torch's own kernel adds up the variance element by element on a CPU, which takes eight times as
long as all the rest of it.
"""

from __future__ import annotations

import torch
from torch import Tensor


def batch_norm(
    c: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, *, in_place: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the normalised `c`, and its mean, biased variance and ``1 / sqrt(variance + eps)``.

    ::

        out = weight * (c - mean) / sqrt(variance + eps) + bias

    Mean and variance, ``[C]``, are those over all dimensions but the channel. The variance is that
    of the centred values, never a difference of large numbers.

    Args:
        c: ``[N, C, ...]``, float32 or wider; call it without a graph.
        weight: scale ``[C]``, or None.
        bias: shift ``[C]``, or None.
        eps: added to the variance.
        in_place: whether the result may take the memory of `c`.
    """
    shape = [-1 if d == 1 else 1 for d in range(c.dim())]
    share = c.shape[1] / c.numel()
    mean = _rows(c).sum(2).sum(0).mul_(share)
    out = c.sub_(mean.view(shape)) if in_place else c - mean.view(shape)
    variance = torch.linalg.vector_norm(_rows(out), dim=2).square_().sum(0).mul_(share)
    inv_std = torch.rsqrt(variance + eps)
    affine_(out, inv_std if weight is None else inv_std * weight, bias)
    return out, mean, variance, inv_std


def batch_norm_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor | None,
    mean: Tensor | None,
    spread: Tensor | None,
    offset: Tensor | None = None,
    *,
    frozen: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients by the input of batch norm, by its weight and by its bias.

    ::

        xhat = (x - mean) * spread,   m(.) the mean over all dimensions but the channel
        weight * spread * (grad - m(grad) - (xhat - offset) * m(grad * xhat))
        sum(grad * xhat),   sum(grad)

    Args:
        grad: gradient by the output, ``[N, C, ...]``, of the type of `x`.
        x: float32 or wider.
        weight: ``[C]``, or None for 1.
        mean: ``[C]``, or None for 0.
        spread: ``[C]``, or None for 1.
        offset: ``[C]``, or None for 0.
        frozen: mean and spread are constants: the first is ``weight * spread * grad``.
    """
    channels = x.shape[1]
    # Torch's kernel for rows of one value reads factors as if they were contiguous.
    mean = x.new_zeros(channels) if mean is None else mean.contiguous()
    spread = x.new_ones(channels) if spread is None else spread.contiguous()
    weight = None if weight is None else weight.contiguous()
    # Torch's own kernel: one pass, and no temporary of the layer's size.
    dx, dweight, dbias = torch.ops.aten.native_batch_norm_backward(
        grad, x, weight, mean, spread**-2, mean, spread, not frozen, 0.0, [True] * 3
    )
    if offset is not None and not frozen:
        scale = spread if weight is None else spread * weight
        dx.add_(along_channels(scale * offset * dweight * (channels / x.numel()), x))
    return dx, dweight, dbias


def _rows(c: Tensor) -> Tensor:
    return c.flatten(2) if c.dim() > 2 else c.unsqueeze(2)


def affine(xhat: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """Return ``weight * xhat + bias`` along dimension 1, in fresh memory; it builds no graph."""
    if weight is None:
        return affine_(xhat.clone(), None, bias)
    return affine_(xhat * along_channels(weight, xhat), None, bias)


def affine_(xhat: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """Return what `affine` returns, to the bit, in the memory of `xhat`."""
    if weight is not None:
        xhat.mul_(along_channels(weight, xhat))
    return xhat if bias is None else xhat.add_(along_channels(bias, xhat))


def along_channels(v: Tensor, like: Tensor) -> Tensor:
    """Return `v`, ``[C]``, shaped for products with `like`, ``[N, C, ...]``; also if it was so."""
    if v.dim() == like.dim():
        return v
    return v.view([-1 if d == 1 else 1 for d in range(like.dim())])
