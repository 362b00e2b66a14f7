"""LIF with rate statistics, its state changed in place, a large layer in pieces.

Beside its state a step needs several temporaries of its own size, which in a wide layer would be
the peak of a whole training step. So a large layer runs in pieces of the batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ratebp.dynamics import Dynamics
from ratebp.ops import operands
from ratebp.ops.lif.rate.naive import RateState
from ratebp.ops.lif.torch import leak_
from ratebp.ops.pieces import pieces
from ratebp.ops.spike import slope

MOST_COUNTED = 255
"""The largest spike count that one byte holds."""


def at_rest(like: Tensor, dynamics: Dynamics, timesteps: int) -> RateState:
    """Return the state before the first step of a layer, all tensors fresh.

    Args:
        like: a current of one step, ``[B, ...]``.
        dynamics: the layer's constants.
        timesteps: T, which decides whether the count is kept as uint8 (T up to 255).
    """
    return RateState(_rest(like), *_totals(like, timesteps), _first(like, dynamics))


def _rest(like: Tensor) -> Tensor:
    return torch.zeros_like(like, dtype=_wide(like))


def _totals(like: Tensor, timesteps: int) -> tuple[Tensor, Tensor]:
    counts = torch.uint8 if timesteps <= MOST_COUNTED else _wide(like)
    return torch.zeros_like(like, dtype=counts), _rest(like)


def _first(like: Tensor, dynamics: Dynamics) -> Tensor:
    """Return ``rho[1]``."""
    if dynamics.constant_jacobian:
        return like.new_ones((), dtype=_wide(like))
    return torch.ones_like(like, dtype=_wide(like))


def _wide(like: Tensor) -> torch.dtype:
    return torch.promote_types(like.dtype, torch.float32)


def check_advance(current: Tensor, state: RateState, dynamics: Dynamics) -> None:
    """Refuse a state that is not one for each current."""
    each = {"carry": state.carry, "spikes": state.spikes, "eligibility": state.eligibility}
    rho = None if dynamics.constant_jacobian and not state.rho.dim() else state.rho
    operands.alike("advance", current, **each, rho=rho)


def check_scan(current: Tensor, dynamics: Dynamics, dtype: torch.dtype) -> None:
    """Refuse what has no time steps."""
    operands.sequence("rate_scan", current)


def advance(current: Tensor, state: RateState, dynamics: Dynamics) -> Tensor:
    """Advance `state` in place by one time step and return the spikes as booleans.

    The equations are those of `rate_step`. Call it without a graph; the state must belong to the
    caller alone.

    Args:
        current: input current of this step, ``[B, ...]``; it is not changed.
        state: from `at_rest`, or the last step's.
        dynamics: the layer's constants.
    """
    fired = torch.empty_like(current, dtype=torch.bool)
    for now, slot, *part in pieces(0, current, fired, *state):
        _advance(now, RateState(*part), dynamics, slot)
    _advance_number(state, dynamics)
    return fired


def rate_scan(
    current: Tensor, dynamics: Dynamics, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """Run all time steps of a layer.

    Args:
        current: input current, ``[T, B, ...]``; it is not changed.
        dynamics: the layer's constants.
        dtype: type of the spikes.

    Returns:
        Spikes ``[T, B, ...]``, and of `RateState` the final `spikes` and `eligibility`.
    """
    timesteps = len(current)
    spikes = torch.empty_like(current, dtype=dtype)
    count, eligibility = _totals(current[0], timesteps)
    totals = count.unsqueeze(0), eligibility.unsqueeze(0)
    for steps, slots, (number,), (total,) in pieces(1, current, spikes, *totals):
        state = RateState(_rest(steps[0]), number, total, _first(steps[0], dynamics))
        for now, slot in zip(steps.unbind(0), slots.unbind(0), strict=True):
            _advance(now, state, dynamics, slot)
            _advance_number(state, dynamics)
    return spikes, count, eligibility


def _advance(current: Tensor, state: RateState, dynamics: Dynamics, slot: Tensor) -> None:
    u = state.carry.add_(current)
    h = slope(u, dynamics)
    state.eligibility.addcmul_(h, state.rho)
    if state.rho.dim():
        state.rho.mul_(dynamics.carry_grad(u, h)).add_(1)
    fired = torch.ge(u, dynamics.threshold, out=h)  # as floats, see `lif.scan.torch`
    slot.copy_(fired)
    state.spikes.add_(_as(state.spikes.dtype, slot))
    leak_(u, fired, dynamics)


def _as(dtype: torch.dtype, spikes: Tensor) -> Tensor:
    # Booleans are bytes already.
    narrow = spikes.dtype == torch.bool and dtype == torch.uint8
    return spikes.view(dtype) if narrow else spikes.to(dtype)


def _advance_number(state: RateState, dynamics: Dynamics) -> None:
    if not state.rho.dim():
        state.rho.mul_(dynamics.decay).add_(1)
