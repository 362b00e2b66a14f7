"""One time step of a LIF layer in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor

from ratebp.dynamics import Dynamics
from ratebp.ops.spike import spike


def lif_step(current: Tensor, carry: Tensor | None, dynamics: Dynamics) -> tuple[Tensor, Tensor]:
    """Return the spikes of one time step and the potential carried to the next.

    ::

        u = carry + I,   s = H(u - threshold),   carry' = dynamics.carry(u, s)

    Args:
        current: input current I of this step, ``[B, ...]``.
        carry: what the last step left, same shape; None at the first step.
        dynamics: the layer's constants.

    Returns:
        ``s`` in the dtype of `current`, and ``carry'`` in at least float32 (under autocast the
        potential integrates in float32 whatever the synapses compute in).
    """
    wide = torch.promote_types(current.dtype, torch.float32)
    u = current.to(wide) if carry is None else carry + current
    s = spike(u - dynamics.threshold, dynamics.surrogate)
    kept = s.detach() if dynamics.detach_reset else s
    return s.to(current.dtype), dynamics.carry(u, kept)
