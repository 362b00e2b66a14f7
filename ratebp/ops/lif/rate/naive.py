"""A LIF time step with rate statistics, in plain torch and without a graph."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ratebp.dynamics import Dynamics
from ratebp.ops import operands


class RateState(NamedTuple):
    """What one time step hands to the next; all tensors have the layer's shape ``[B, ...]``.

    Attributes:
        carry: potential after reset and leak.
        spikes: how many so far.
        eligibility: sum over steps of ``h'(u) * rho``.
        rho: ``rho[t+1]``, a 0-dim tensor when the temporal Jacobian is a plain number.
    """

    carry: Tensor
    spikes: Tensor
    eligibility: Tensor
    rho: Tensor


def rate_step(
    current: Tensor, state: RateState | None, dynamics: Dynamics
) -> tuple[Tensor, RateState]:
    """Return the spikes of one time step and the advanced rate statistics.

    ::

        rho[1] = 1,   rho[t+1] = 1 + rho[t] * (d u[t+1] / d u[t])
        g = (1/T) * sum over t of h'(u[t] - threshold) * rho[t]

    `g` is the derivative of the mean rate by a constant input current (rate-BP, eqs. 8 and 9).

    Args:
        current: input current of this step, ``[B, ...]``.
        state: the last step's state; None at the first step.
        dynamics: the layer's constants.

    Returns:
        Spikes in the dtype of `current`, and the new state in at least float32.
    """
    wide = torch.promote_types(current.dtype, torch.float32)
    u = current.to(wide) if state is None else state.carry + current
    x = u - dynamics.threshold
    s = (x >= 0).to(wide)
    h = dynamics.surrogate.derivative(x)
    jacobian = dynamics.carry_grad(u, h)
    if state is None:
        new = RateState(dynamics.carry(u, s), s.clone(), h, 1 + jacobian * u.new_ones(()))
    else:
        new = RateState(
            dynamics.carry(u, s),
            state.spikes + s,
            torch.addcmul(state.eligibility, h, state.rho),
            1 + state.rho * jacobian,
        )
    return s.to(current.dtype), new


class ReplayRate(torch.autograd.Function):
    """`replay_rate`; its backward reads nothing but the eligibility."""

    @staticmethod
    def forward(
        ctx: Any, current: Tensor, rate: Tensor, eligibility: Tensor, timesteps: int
    ) -> Tensor:
        """Hand on `rate`."""
        ctx.save_for_backward(eligibility)
        ctx.timesteps = timesteps
        return rate.detach()  # not a view, so that a model may add to it in place

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        """Return the gradient by `current`."""
        (eligibility,) = ctx.saved_tensors
        grad = (grads[0] * eligibility).div_(ctx.timesteps)
        return grad.to(grads[0].dtype), None, None, None


def check_replay(current: Tensor, rate: Tensor, eligibility: Tensor, timesteps: int) -> None:
    """Refuse a rate or an eligibility that is not one for each current."""
    operands.alike("replay_rate", current, rate=rate, eligibility=eligibility)


def replay_rate(current: Tensor, rate: Tensor, eligibility: Tensor, timesteps: int) -> Tensor:
    """Return `rate`; its derivative by `current` is ``eligibility / timesteps``.

    Args:
        current: takes the gradient ``[B, ...]``; its value is not read.
        rate: mean spikes of the spike pass, shape and dtype of `current`.
        eligibility: T g of the spike pass, same shape.
        timesteps: T.
    """
    out: Tensor = ReplayRate.apply(current, rate, eligibility, timesteps)
    return out
