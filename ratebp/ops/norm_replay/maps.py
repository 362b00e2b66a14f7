"""The affine map of a norm, along the channels, without a graph."""

from __future__ import annotations

from torch import Tensor


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
