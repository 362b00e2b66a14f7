"""One time step of a LIF layer in plain torch."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ratebp.dynamics import Dynamics
from ratebp.ops.spike import spike


class LIFState(NamedTuple):
    """What one time step leaves for the next, ``[B, ...]``.

    Potential and spike are kept apart, and the reset is applied at the start of the next step: both
    are alive for the backward anyway, while a potential after reset would be one tensor more.

    Attributes:
        u: potential before the reset, in at least float32.
        s: spikes, a constant if the layer detaches its reset.
    """

    u: Tensor
    s: Tensor


def lif_step(
    current: Tensor, state: LIFState | None, dynamics: Dynamics
) -> tuple[Tensor, LIFState]:
    """Return the spikes of one time step and the state for the next.

    ::

        u = dynamics.carry(u_last, s_last) + I,   s = H(u - threshold)

    Args:
        current: input current I of this step, ``[B, ...]``.
        state: the last step's; None at the first step.
        dynamics: the layer's constants.

    Returns:
        ``s`` in the dtype of `current`, and the new state. Under autocast the potential integrates
        in float32 whatever the synapses compute in.
    """
    wide = torch.promote_types(current.dtype, torch.float32)
    u = current.to(wide) if state is None else dynamics.carry(*state) + current
    s = spike(u, dynamics.threshold, dynamics.surrogate).to(current.dtype)
    return s, LIFState(u, s.detach() if dynamics.detach_reset else s)
