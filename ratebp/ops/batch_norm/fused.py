"""Batch norm and its affine map on a CPU as operators of few passes, with kernels in C++.

To a counter of operators a batch norm tells the least that it can move: its input once, its output
once. What it reads twice more comes from the cache where that is large enough.
"""

import torch
from torch import Tensor

from ratebp.ops import operands
from ratebp.ops.backends import KERNELS, backend, kernels
from ratebp.ops.batch_norm import torch as in_torch
from ratebp.ops.fused import operator


def _serves(x: Tensor) -> bool:
    served = backend(x.device) in KERNELS["batch_norm"]
    return served and x.dtype in operands.WIDE and x.is_contiguous()


def _factors(
    weight: Tensor | None, bias: Tensor | None, dtype: torch.dtype
) -> tuple[Tensor | None, Tensor | None]:
    """Return two factors as the kernels read them: one value after the other, in `dtype`."""

    def dense(x: Tensor | None) -> Tensor | None:
        return None if x is None else x.detach().to(dtype).flatten().contiguous()

    return dense(weight), dense(bias)


def _check(operator: str, x: Tensor, **factors: Tensor | None) -> None:
    """Refuse what the kernels cannot read as it stands."""
    operands.of_type(operator, operands.WIDE, x=x)
    operands.channels(operator, x, **factors)
    operands.of_type(operator, (x.dtype,), **factors)
    for each, factor in {"x": x, **factors}.items():
        if factor is not None and not factor.is_contiguous():
            raise operands.refused(operator, each, factor, "a contiguous tensor")


def _normalise(
    c: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, out: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    _check("batch_norm", c, weight=weight, bias=bias)
    statistics = _statistics(c)
    kernels("batch_norm", c).batch_norm(c, weight, bias, eps, out, statistics)
    return statistics


def _statistics(c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return memory for mean, variance and reciprocal standard deviation."""
    mean, variance, inv_std = (c.new_empty(c.shape[1]) for _ in range(3))
    return mean, variance, inv_std


@operator("batch_norm")
def _batch_norm(
    c: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    out = torch.empty_like(c)
    return out, *_normalise(c, weight, bias, eps, out)


@_batch_norm.register_fake
def _(
    c: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return torch.empty_like(c), *_statistics(c)


@operator("batch_norm_", ("c",))
def _batch_norm_(
    c: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    return _normalise(c, weight, bias, eps, c)


@_batch_norm_.register_fake
def _(
    c: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    return _statistics(c)


@operator("affine")
def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    _check("affine", x, weight=weight, bias=bias)
    out = torch.empty_like(x)
    kernels("affine", x).affine(x, weight, bias, out)
    return out


@_affine.register_fake
def _(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    return torch.empty_like(x)


@operator("affine_", ("x",))
def _affine_(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> None:
    _check("affine", x, weight=weight, bias=bias)
    kernels("affine_", x).affine(x, weight, bias, x)


@_affine_.register_fake
def _(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> None:
    return None


@operator("batch_norm_backward")
def _backward(
    grad: Tensor, x: Tensor, weight: Tensor | None, mean: Tensor | None, spread: Tensor | None,
    offset: Tensor | None, frozen: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    name = "batch_norm_backward"
    _check(name, x, weight=weight, mean=mean, spread=spread, offset=offset)
    operands.alike(name, x, grad=grad)
    operands.of_type(name, (x.dtype,), grad=grad)
    operands.strided(name, x.stride(), 0, grad=grad)
    out, by_weight, by_bias = torch.empty_like(x), x.new_empty(x.shape[1]), x.new_empty(x.shape[1])
    results = out, by_weight, by_bias
    factors = weight, mean, spread, offset
    kernels(name, x).backward(grad, x, factors, frozen, results)
    return results


@_backward.register_fake
def _(
    grad: Tensor, x: Tensor, weight: Tensor | None, mean: Tensor | None, spread: Tensor | None,
    offset: Tensor | None, frozen: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    return torch.empty_like(x), x.new_empty(x.shape[1]), x.new_empty(x.shape[1])


def batch_norm(
    c: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, *, in_place: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return what `torch.batch_norm` returns, in three passes where there are C++ kernels."""
    operands.channels("batch_norm", c, weight=weight, bias=bias)
    if not c.numel():
        raise operands.refused("batch_norm", "c", c, "[N, C, ...] with at least one value")
    if not _serves(c):
        return in_torch.batch_norm(c, weight, bias, eps, in_place=in_place)
    factors = _factors(weight, bias, c.dtype)
    found: tuple[Tensor, Tensor, Tensor, Tensor]
    found = (c, *_batch_norm_(c, *factors, eps)) if in_place else _batch_norm(c, *factors, eps)
    return found


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
    """Return what `torch.batch_norm_backward` returns, in two passes where there are kernels."""
    factors = {"weight": weight, "mean": mean, "spread": spread, "offset": offset}
    operands.channels("batch_norm_backward", x, **factors)
    operands.alike("batch_norm_backward", x, grad=grad)
    if not _serves(x) or x.dtype != grad.dtype:
        return in_torch.batch_norm_backward(grad, x, **factors, frozen=frozen)
    passed = *_factors(weight, mean, x.dtype), *_factors(spread, offset, x.dtype)
    found: tuple[Tensor, Tensor, Tensor]
    found = _backward(grad.contiguous(), x, *passed, frozen)
    return found


def affine(xhat: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """Return what `torch.affine` returns, in one pass where there are C++ kernels."""
    operands.channels("affine", xhat, weight=weight, bias=bias)
    if not _serves(xhat):
        return in_torch.affine(xhat, weight, bias)
    found: Tensor = _affine(xhat.detach(), *_factors(weight, bias, xhat.dtype))
    return found


def affine_(xhat: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """Return what `affine` returns, to the bit, in the memory of `xhat`."""
    operands.channels("affine_", xhat, weight=weight, bias=bias)
    if not _serves(xhat):
        return in_torch.affine_(xhat, weight, bias)
    _affine_(xhat, *_factors(weight, bias, xhat.dtype))
    return xhat
