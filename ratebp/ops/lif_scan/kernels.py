"""The LIF scan in Triton: a lane runs all time steps of one neuron, its potential in a register."""

# No postponed annotations: triton reads `tl.constexpr` from them.
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from ratebp.dynamics import Dynamics
from ratebp.ops.kernels import (
    FORWARD,
    beside,
    carry,
    carry_grad,
    cast,
    constants,
    dense,
    derivative,
    equation_of,
    laid_out,
    launch,
    operator,
    serves,
    type_of,
    wide_of,
)
from ratebp.ops.lif_scan import adjoint


@triton.jit
def _forward(
    current, step, spikes, potentials, timesteps, number,
    KEEP: tl.constexpr, WIDE: tl.constexpr, DECAY: tl.constexpr, THRESHOLD: tl.constexpr,
    RESET: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = i < number
    now, fired, kept = current + i, spikes + i, potentials + i
    u = tl.zeros([BLOCK], WIDE)
    for _ in range(timesteps):
        u += tl.load(now, mask=inside, other=0).to(WIDE)
        if KEEP:
            tl.store(kept, u, mask=inside)
            kept += number
        tl.store(fired, cast(u >= THRESHOLD, spikes.dtype.element_ty), mask=inside)
        u = carry(u, DECAY, THRESHOLD, RESET)
        now += step
        fired += number


@triton.jit
def _backward(
    potentials, grad, step, out, timesteps, last, last_grad, number,
    WIDE: tl.constexpr, DECAY: tl.constexpr, THRESHOLD: tl.constexpr, RESET: tl.constexpr,
    DETACH: tl.constexpr, SURROGATE: tl.constexpr, ALPHA: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = i < number
    kept, slot, upstream = potentials + last + i, out + last + i, grad + last_grad + i
    later = tl.zeros([BLOCK], WIDE)
    for _ in range(timesteps):
        u = tl.load(kept, mask=inside, other=0)
        h = derivative(u - THRESHOLD, SURROGATE, ALPHA)
        ds = tl.load(upstream, mask=inside, other=0).to(WIDE)
        later = ds * h + later * carry_grad(u, h, DECAY, THRESHOLD, RESET, DETACH)
        tl.store(slot, later.to(out.dtype.element_ty), mask=inside)
        kept -= number
        slot -= number
        upstream -= step


def run(current: Tensor, equation: str, potentials: Tensor | None) -> Tensor:
    """Return the spikes of dense steps ``[T, ...]``; fill `potentials` with u where it is given."""
    spikes = beside(current, 1, current.dtype)
    launch(
        _forward, current[0].numel(), current,
        current, current.stride(0), spikes, spikes if potentials is None else potentials,
        current.shape[0],
        KEEP=potentials is not None, WIDE=type_of(wide_of(current.dtype)),
        **constants(equation, *FORWARD),
    )  # fmt: skip
    return spikes


@operator("lif_spikes")
def lif_spikes(current: Tensor, equation: str) -> Tensor:
    """Return the spikes alone, of steps that are dense."""
    return run(current, equation, None)


@lif_spikes.register_fake
def _(current: Tensor, equation: str) -> Tensor:
    return beside(current, 1, current.dtype)


@operator("lif_scan")
def _scan(current: Tensor, equation: str) -> tuple[Tensor, Tensor]:
    potentials = beside(current, 1, wide_of(current.dtype))
    return run(current, equation, potentials), potentials


@_scan.register_fake
def _(current: Tensor, equation: str) -> tuple[Tensor, Tensor]:
    return beside(current, 1, current.dtype), beside(current, 1, wide_of(current.dtype))


@operator("lif_scan_backward")
def _scan_backward(potentials: Tensor, grad: Tensor, equation: str) -> Tensor:
    out = beside(potentials, 1, grad.dtype)
    number, last = out[0].numel(), out.shape[0] - 1
    launch(
        _backward, number, out,
        potentials, grad, grad.stride(0), out, out.shape[0],
        last * number, last * grad.stride(0),
        WIDE=type_of(potentials.dtype), **constants(equation),
    )  # fmt: skip
    return out


@_scan_backward.register_fake
def _(potentials: Tensor, grad: Tensor, equation: str) -> Tensor:
    return beside(potentials, 1, grad.dtype)


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
        return adjoint.lif_scan(current, dynamics)
    equation = equation_of(dynamics)
    if torch.is_grad_enabled() and current.requires_grad:
        spikes: Tensor = _scan(dense(current, 1), equation)[0]
        return spikes
    alone: Tensor = lif_spikes(dense(current.detach(), 1), equation)
    return alone
