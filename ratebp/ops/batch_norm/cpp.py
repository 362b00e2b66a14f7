"""Batch norm and its affine map in C++ (kernels.cpp)."""

from __future__ import annotations

from torch import Tensor

from ratebp.ops.cpp import call


def batch_norm(
    c: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    out: Tensor,
    statistics: tuple[Tensor, Tensor, Tensor],
) -> None:
    """Fill `out`, which may be `c`, and mean, variance and reciprocal standard deviation."""
    call("batch_norm", c, weight, bias, eps, out, *statistics, *_extent(c))


def affine(x: Tensor, weight: Tensor | None, bias: Tensor | None, out: Tensor) -> None:
    """Fill `out`, which may be `x`, with ``weight * x + bias``."""
    call("affine", x, weight, bias, out, *_extent(x))


def backward(
    grad: Tensor,
    x: Tensor,
    factors: tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None],
    frozen: bool,
    results: tuple[Tensor, Tensor, Tensor],
) -> None:
    """Fill the gradients by input, weight and bias; `factors` are weight, mean, spread, offset."""
    call("batch_norm_backward", grad, x, *factors, frozen, *results, *_extent(x))


def _extent(x: Tensor) -> tuple[int, int, int]:
    """Return images, channels, and values of one channel in an image."""
    images, channels = x.shape[:2]
    return images, channels, x.shape[2:].numel()
