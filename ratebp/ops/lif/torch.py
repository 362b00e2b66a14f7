"""The LIF equation in few passes over memory, for the operators that write their backward out."""

from __future__ import annotations

import torch
from torch import Tensor

from ratebp.dynamics import Dynamics
from ratebp.ops.spike import slope


def charged(current: Tensor, last: Tensor | None, dynamics: Dynamics) -> Tensor:
    """Return the potential after `current` came upon that of the last step, in fresh memory."""
    if last is None:
        return current.to(torch.promote_types(current.dtype, torch.float32), copy=True)
    return carry_into(torch.empty_like(last), last, dynamics).add_(current)


def fired(u: Tensor, dynamics: Dynamics) -> Tensor:
    """Return the spikes of potentials `u`, in the type of `u`."""
    return torch.ge(u, dynamics.threshold, out=torch.empty_like(u))


def carry_into(out: Tensor, u: Tensor, dynamics: Dynamics) -> Tensor:
    """Write what `Dynamics.carry` leaves of the potentials `u` into `out`, of their type."""
    if dynamics.reset == "soft":
        torch.ge(u, dynamics.threshold, out=out)
        torch.add(u, out, alpha=-dynamics.threshold, out=out)
    else:
        torch.lt(u, dynamics.threshold, out=out)
        torch.mul(u, out, out=out)
    return out.mul_(dynamics.decay)


def leak_(u: Tensor, fired: Tensor, dynamics: Dynamics) -> None:
    """Turn potentials into what `Dynamics.carry` leaves of them, in place.

    Args:
        u: potentials.
        fired: spikes, 0 or 1 in the type of `u`.
        dynamics: the layer's constants.
    """
    if dynamics.reset == "soft":
        u.add_(fired, alpha=-dynamics.threshold)
    else:
        u.mul_(1 - fired)
    u.mul_(dynamics.decay)


def through_time(du: Tensor, last: Tensor | None, dynamics: Dynamics) -> Tensor:
    """Return the gradient by the last step's potential, given that by this step's.

    Args:
        du: gradient by this step's potential; it is not changed.
        last: the last step's potential; None if the temporal Jacobian does not depend on it.
        dynamics: the layer's constants.
    """
    if dynamics.constant_jacobian:
        return du * dynamics.decay
    assert last is not None
    return du * dynamics.carry_grad(last, slope(last, dynamics))
