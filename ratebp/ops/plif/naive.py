"""The PLIF neuron in plain torch, differentiated by autograd."""

from __future__ import annotations

import torch
from torch import Tensor

from ratebp.dynamics import Dynamics
from ratebp.ops.lif.naive import last_spike
from ratebp.ops.spike import spike


def plif_step(
    current: Tensor, last: Tensor | None, share: Tensor, undecayed: Dynamics
) -> tuple[Tensor, Tensor]:
    """Return the spikes and the potential of one time step.

    ::

        u = (1 - share) * undecayed.carry(u_last, s_last) + share * I,   s = H(u - threshold)

    As in `lif_step`, the potential before the reset is the whole state.

    Args:
        current: input current I of this step, ``[B, ...]``.
        last: the last step's potential; None at the first step.
        share: 1/tau, a scalar in (0, 1).
        undecayed: the layer's constants, with a decay of 1.

    Returns:
        ``s`` in the dtype of `current`, and ``u`` in at least float32.
    """
    wide = torch.promote_types(current.dtype, torch.float32)
    share = share.to(wide)
    u = share * current.to(wide)
    if last is not None:
        u = (1 - share) * undecayed.carry(last, last_spike(last, undecayed)) + u
    return spike(u, undecayed.threshold, undecayed.surrogate).to(current.dtype), u


def naive_plif_scan(current: Tensor, share: Tensor, undecayed: Dynamics) -> Tensor:
    """Return the spikes of a PLIF layer, ``[T, B, ...]``, for a whole sequence of currents."""
    u = None
    spikes = []
    for now in current.unbind(0):
        s, u = plif_step(now, u, share, undecayed)
        spikes.append(s)
    return torch.stack(spikes)
