"""LIF with rate statistics as operators of one pass, with kernels in Triton and C++.

The backward of `replay_rate` has some in Triton alone.
"""

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
from ratebp.ops.lif.rate import naive
from ratebp.ops.lif.rate import torch as in_torch
from ratebp.ops.lif.rate.naive import RateState
from ratebp.ops.lif.rate.torch import MOST_COUNTED


def _results(current: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    timesteps, wide = current.shape[0], wide_of(current.dtype)
    counted = torch.uint8 if timesteps <= MOST_COUNTED else wide
    one = current[0]
    return empty_dense(current, 1, dtype), empty_dense(one, 0, counted), empty_dense(one, 0, wide)


@operator("rate_scan")
def _scan_op(current: Tensor, equation: str, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    operands.sequence("rate_scan", current)
    operands.of_type("rate_scan", FLOATS, current=current)
    operands.dense("rate_scan", 1, current=current)
    spikes, count, eligibility = _results(current, dtype)
    kernels("rate_scan", current).scan(equation, current, spikes, count, eligibility)
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
    name, kept = "advance", carry.dtype
    operands.dense(name, 0, carry=carry)
    each = {"spikes": spikes, "eligibility": eligibility, "rho": rho if rho.dim() else None}
    operands.laid_out_alike(name, carry, 0, current=current, **each)
    operands.of_type(name, operands.WIDE, carry=carry)
    operands.of_type(name, FLOATS, current=current)
    operands.of_type(name, (kept,), eligibility=eligibility, rho=rho)
    operands.of_type(name, (torch.uint8, kept), spikes=spikes)
    fired = empty_dense(carry, 0, torch.bool)
    kernels("rate_advance", current).advance(
        equation, current, carry, spikes, eligibility, rho, fired
    )
    return fired


def _fired(current: Tensor, carry: Tensor, *_: Any) -> Tensor:
    return empty_dense(carry, 0, torch.bool)


_advance_number.register_fake(_fired)
_advance_rho.register_fake(_fired)


@operator("replay_rate_backward")
def _replay_op(grad: Tensor, eligibility: Tensor, timesteps: int) -> Tensor:
    operands.of_type("replay_rate", FLOATS, grad=grad, eligibility=eligibility)
    operands.dense("replay_rate", 0, eligibility=eligibility)
    operands.laid_out_alike("replay_rate", eligibility, 0, grad=grad)
    out = empty_dense(eligibility, 0, grad.dtype)
    kernels("replay_rate_backward", grad).replay(grad, eligibility, out, timesteps)
    return out


@_replay_op.register_fake
def _(grad: Tensor, eligibility: Tensor, timesteps: int) -> Tensor:
    return empty_dense(eligibility, 0, grad.dtype)


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
        return in_torch.rate_scan(current, dynamics, dtype)
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
        return in_torch.advance(current, state, dynamics)
    now = laid_out(current.detach(), state.carry.stride(), 0)
    fired: Tensor
    if state.rho.dim():
        fired = _advance_rho(now, *state, equation_of(dynamics))
    else:
        fired = _advance_number(now, *state, equation_of(dynamics))
        state.rho.mul_(dynamics.decay).add_(1)
    return fired


class _FusedReplayRate(naive.ReplayRate):
    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (eligibility,) = ctx.saved_tensors
        dense_eligibility = dense(eligibility, 0)
        grad = laid_out(grads[0], dense_eligibility.stride(), 0)
        return _replay_op(grad, dense_eligibility, ctx.timesteps), None, None, None


def replay_rate(current: Tensor, rate: Tensor, eligibility: Tensor, timesteps: int) -> Tensor:
    """Return `rate`, with the derivative of `naive.replay_rate`."""
    out: Tensor = _FusedReplayRate.apply(current, rate, eligibility, timesteps)
    return out
