"""LIF with rate statistics in Triton: one pass a call, the state in registers over the steps."""

# No postponed annotations: triton reads `tl.constexpr` from them.
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from ratebp.dynamics import Dynamics
from ratebp.ops.kernels import (
    beside,
    bytes_of,
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
from ratebp.ops.rate_step import in_place, naive
from ratebp.ops.rate_step.in_place import MOST_COUNTED
from ratebp.ops.rate_step.naive import RateState


@triton.jit
def _scan(
    current, step, spikes, total, eligibility, timesteps, number,
    WIDE: tl.constexpr, DECAY: tl.constexpr, THRESHOLD: tl.constexpr, RESET: tl.constexpr,
    DETACH: tl.constexpr, SURROGATE: tl.constexpr, ALPHA: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = i < number
    now, fired = current + i, spikes + i
    u, g = tl.zeros([BLOCK], WIDE), tl.zeros([BLOCK], WIDE)
    rho = tl.full([BLOCK], 1.0, WIDE)
    count = tl.zeros([BLOCK], tl.int32)
    for _ in range(timesteps):
        u += tl.load(now, mask=inside, other=0).to(WIDE)
        s = u >= THRESHOLD
        tl.store(fired, cast(s, spikes.dtype.element_ty), mask=inside)
        count += s.to(tl.int32)
        h = derivative(u - THRESHOLD, SURROGATE, ALPHA)
        g += h * rho
        rho = rho * carry_grad(u, h, DECAY, THRESHOLD, RESET, DETACH) + 1
        u = carry(u, DECAY, THRESHOLD, RESET)
        now += step
        fired += number
    tl.store(total + i, count.to(total.dtype.element_ty), mask=inside)
    tl.store(eligibility + i, g, mask=inside)


@triton.jit
def _step(
    current, potential, total, eligibility, rho, fired, number,
    PLAIN: tl.constexpr, WIDE: tl.constexpr, DECAY: tl.constexpr, THRESHOLD: tl.constexpr,
    RESET: tl.constexpr, DETACH: tl.constexpr, SURROGATE: tl.constexpr, ALPHA: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = i < number
    u = tl.load(potential + i, mask=inside, other=0)
    u += tl.load(current + i, mask=inside, other=0).to(WIDE)
    s = u >= THRESHOLD
    tl.store(fired + i, s.to(tl.uint8), mask=inside)
    count = tl.load(total + i, mask=inside, other=0) + s.to(total.dtype.element_ty)
    tl.store(total + i, count, mask=inside)
    h = derivative(u - THRESHOLD, SURROGATE, ALPHA)
    # A plain number is advanced by the caller, once: other programs read it here.
    weight = tl.load(rho) if PLAIN else tl.load(rho + i, mask=inside, other=0)
    g = tl.load(eligibility + i, mask=inside, other=0) + h * weight
    tl.store(eligibility + i, g, mask=inside)
    if not PLAIN:
        weight = weight * carry_grad(u, h, DECAY, THRESHOLD, RESET, DETACH) + 1
        tl.store(rho + i, weight, mask=inside)
    tl.store(potential + i, carry(u, DECAY, THRESHOLD, RESET), mask=inside)


@triton.jit
def _replay(grad, eligibility, out, timesteps, number, WIDE: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = i < number
    d = tl.load(grad + i, mask=inside, other=0).to(WIDE)
    d = d * tl.load(eligibility + i, mask=inside, other=0) / timesteps
    tl.store(out + i, d.to(out.dtype.element_ty), mask=inside)


def _results(current: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    timesteps, wide = current.shape[0], wide_of(current.dtype)
    counted = torch.uint8 if timesteps <= MOST_COUNTED else wide
    one = current[0]
    return beside(current, 1, dtype), beside(one, 0, counted), beside(one, 0, wide)


@operator("rate_scan")
def _scan_op(current: Tensor, equation: str, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    spikes, count, eligibility = _results(current, dtype)
    launch(
        _scan, count.numel(), current,
        current, current.stride(0), bytes_of(spikes), count, eligibility, current.shape[0],
        WIDE=type_of(eligibility.dtype), **constants(equation),
    )  # fmt: skip
    return spikes, count, eligibility


@_scan_op.register_fake
def _(current: Tensor, equation: str, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    return _results(current, dtype)


_STATE = ("carry", "spikes", "eligibility")


@operator("rate_advance", _STATE)
def _advance_number(
    current: Tensor, carry: Tensor, spikes: Tensor, eligibility: Tensor, rho: Tensor, equation: str
) -> Tensor:
    return _advanced(current, carry, spikes, eligibility, rho, equation)


@operator("rate_advance_rho", (*_STATE, "rho"))
def _advance_rho(
    current: Tensor, carry: Tensor, spikes: Tensor, eligibility: Tensor, rho: Tensor, equation: str
) -> Tensor:
    return _advanced(current, carry, spikes, eligibility, rho, equation)


def _advanced(
    current: Tensor, carry: Tensor, spikes: Tensor, eligibility: Tensor, rho: Tensor, equation: str
) -> Tensor:
    fired = beside(carry, 0, torch.bool)
    launch(
        _step, carry.numel(), current,
        current, carry, spikes, eligibility, rho, bytes_of(fired),
        PLAIN=not rho.dim(), WIDE=type_of(carry.dtype), **constants(equation),
    )  # fmt: skip
    return fired


def _fired(current: Tensor, carry: Tensor, *_: Any) -> Tensor:
    return beside(carry, 0, torch.bool)


_advance_number.register_fake(_fired)
_advance_rho.register_fake(_fired)


@operator("replay_rate_backward")
def _replay_op(grad: Tensor, eligibility: Tensor, timesteps: int) -> Tensor:
    out = beside(eligibility, 0, grad.dtype)
    wide = type_of(wide_of(eligibility.dtype))
    launch(_replay, out.numel(), grad, grad, eligibility, out, timesteps, WIDE=wide)
    return out


@_replay_op.register_fake
def _(grad: Tensor, eligibility: Tensor, timesteps: int) -> Tensor:
    return beside(eligibility, 0, grad.dtype)


def rate_scan(
    current: Tensor, dynamics: Dynamics, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """Run all time steps of a layer, like `rate_step` one by one.

    Args:
        current: input current, ``[T, B, ...]``; it is not changed.
        dynamics: the layer's constants.
        dtype: type of the spikes.

    Returns:
        Spikes ``[T, B, ...]``, and of `RateState` the final `spikes` and `eligibility`.
    """
    if not serves("rate_scan", current, dynamics):
        return in_place.rate_scan(current, dynamics, dtype)
    found: tuple[Tensor, Tensor, Tensor]
    found = _scan_op(dense(current.detach(), 1), equation_of(dynamics), dtype)
    return found


def advance(current: Tensor, state: RateState, dynamics: Dynamics) -> Tensor:
    """Advance `state` in place by one time step and return the spikes as booleans.

    Args:
        current: input current of this step, ``[B, ...]``; it is not changed.
        state: from `at_rest`, or the last step's; it must belong to the caller alone.
        dynamics: the layer's constants.
    """
    if not serves("advance", current, dynamics):
        return in_place.advance(current, state, dynamics)
    now = laid_out(current.detach(), state.carry.stride(), 0)
    fired: Tensor
    if state.rho.dim():
        fired = _advance_rho(now, *state, equation_of(dynamics))
    else:
        fired = _advance_number(now, *state, equation_of(dynamics))
        state.rho.mul_(dynamics.decay).add_(1)
    return fired


class _ReplayRate(naive.ReplayRate):
    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (eligibility,) = ctx.saved_tensors
        dense_eligibility = dense(eligibility, 0)
        grad = laid_out(grads[0], dense_eligibility.stride(), 0)
        return _replay_op(grad, dense_eligibility, ctx.timesteps), None, None, None


def replay_rate(current: Tensor, rate: Tensor, eligibility: Tensor, timesteps: int) -> Tensor:
    """Return `rate`, with the derivative of `naive.replay_rate`."""
    out: Tensor = _ReplayRate.apply(current, rate, eligibility, timesteps)
    return out
