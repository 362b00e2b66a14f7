"""The LIF scan as operators of one pass each way, with kernels in Triton and C++."""

from typing import Any

import torch
from torch import Tensor

from ratebp.dynamics import Dynamics
from ratebp.ops import operands
from ratebp.ops.backends import kernels
from ratebp.ops.fused import (
    FLOATS,
    dense,
    empty_dense,
    equation_of,
    laid_out,
    operator,
    serves,
    wide_of,
)
from ratebp.ops.lif.scan import torch as in_torch


def run(current: Tensor, equation: str, potentials: Tensor | None) -> Tensor:
    """Return the spikes of dense steps ``[T, ...]``; fill `potentials` with u where it is given."""
    operands.sequence("lif_scan", current)
    operands.of_type("lif_scan", FLOATS, current=current)
    operands.dense("lif_scan", 1, current=current)
    spikes = empty_dense(current, 1, current.dtype)
    kernels("lif_scan", current).forward(equation, current, spikes, potentials)
    return spikes


@operator("lif_spikes")
def lif_spikes(current: Tensor, equation: str) -> Tensor:
    """Return the spikes alone, of steps that are dense."""
    return run(current, equation, None)


@lif_spikes.register_fake
def _(current: Tensor, equation: str) -> Tensor:
    return empty_dense(current, 1, current.dtype)


@operator("lif_scan")
def _scan(current: Tensor, equation: str) -> tuple[Tensor, Tensor]:
    potentials = empty_dense(current, 1, wide_of(current.dtype))
    return run(current, equation, potentials), potentials


@_scan.register_fake
def _(current: Tensor, equation: str) -> tuple[Tensor, Tensor]:
    return empty_dense(current, 1, current.dtype), empty_dense(current, 1, wide_of(current.dtype))


@operator("lif_scan_backward")
def _scan_backward(potentials: Tensor, grad: Tensor, equation: str) -> Tensor:
    name = "lif_scan_backward"
    operands.sequence(name, potentials)
    operands.of_type(name, operands.WIDE, potentials=potentials)
    operands.of_type(name, FLOATS, grad=grad)
    operands.stacked(name, potentials=potentials)
    operands.laid_out_alike(name, potentials, 1, grad=grad)
    out = empty_dense(potentials, 1, grad.dtype)
    kernels("lif_scan_backward", grad).backward(equation, potentials, grad, out)
    return out


@_scan_backward.register_fake
def _(potentials: Tensor, grad: Tensor, equation: str) -> Tensor:
    return empty_dense(potentials, 1, grad.dtype)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(output[1])
    ctx.equation = inputs[1]


def _differentiate(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, None]:
    (potentials,) = ctx.saved_tensors
    if grads[0] is None:
        return None, None
    return _scan_backward(
        potentials, laid_out(grads[0], potentials.stride(), 1), ctx.equation
    ), None


_scan.register_autograd(_differentiate, setup_context=_setup)


def lif_scan(current: Tensor, dynamics: Dynamics) -> Tensor:
    """Return the spikes of a LIF layer for a whole sequence, like `naive_lif_scan`.

    Args:
        current: input current, ``[T, B, ...]``.
        dynamics: the layer's constants.
    """
    if not serves("lif_scan", current, dynamics):
        return in_torch.lif_scan(current, dynamics)
    equation = equation_of(dynamics)
    if torch.is_grad_enabled() and current.requires_grad:
        spikes: Tensor = _scan(dense(current, 1), equation)[0]
        return spikes
    alone: Tensor = lif_spikes(dense(current.detach(), 1), equation)
    return alone
