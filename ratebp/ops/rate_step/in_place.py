"""The LIF time step with rate statistics, its state changed in place and its spikes one byte each."""

from __future__ import annotations

import torch
from torch import Tensor

from ratebp.dynamics import Dynamics
from ratebp.ops.rate_step.naive import RateState

MOST_COUNTED = 255
"""The largest spike count that one byte holds."""


def advance(
    current: Tensor, state: RateState | None, dynamics: Dynamics, timesteps: int
) -> tuple[Tensor, RateState]:
    """Return the spikes of one time step as booleans, and `state`, advanced in place.

    The equations are those of `rate_step`. Call it without a graph; the state must belong to the
    caller alone.

    Args:
        current: input current of this step, ``[B, ...]``; it is not changed.
        state: the last step's state; None at the first step, which makes one.
        dynamics: the layer's constants.
        timesteps: T, which decides whether the count is kept as uint8 (T up to 255).
    """
    wide = torch.promote_types(current.dtype, torch.float32)
    u = current.to(wide, copy=True) if state is None else state.carry.add_(current)
    fired = u >= dynamics.threshold
    h = dynamics.surrogate.derivative(u - dynamics.threshold)
    jacobian = dynamics.carry_grad(u, h)
    if state is None:
        count = fired.to(torch.uint8 if timesteps <= MOST_COUNTED else wide)
        rho = 1 + jacobian * u.new_ones(())
        eligibility = h
    else:
        count = state.spikes.add_(fired)
        eligibility = state.eligibility.addcmul_(h, state.rho)
        rho = 1 + state.rho * jacobian
    if dynamics.reset == "soft":
        u.add_(fired, alpha=-dynamics.threshold)
    else:
        u.masked_fill_(fired, 0.0)
    return fired, RateState(u.mul_(dynamics.decay), count, eligibility, rho)
