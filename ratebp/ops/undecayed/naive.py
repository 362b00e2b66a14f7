"""The LIF neuron with an undecayed reset in plain torch, differentiated by autograd."""

from __future__ import annotations

import torch
from torch import Tensor

from ratebp.dynamics import Dynamics
from ratebp.ops.lif.naive import last_spike
from ratebp.ops.spike import spike


def undecayed_step(
    current: Tensor, last: Tensor | None, dynamics: Dynamics
) -> tuple[Tensor, Tensor]:
    """Return the spikes and the potential of one time step.

    ::

        u = decay * u_last - threshold * s_last + I,   s = H(u - threshold)

    As in `lif_step`, the potential before the reset is the whole state.

    Args:
        current: input current I of this step, ``[B, ...]``.
        last: the last step's potential; None at the first step.
        dynamics: the layer's constants; its `carry` is that of a decayed reset and is not asked.

    Returns:
        ``s`` in the dtype of `current`, and ``u`` in at least float32.
    """
    u = current.to(torch.promote_types(current.dtype, torch.float32))
    if last is not None:
        u = dynamics.decay * last - dynamics.threshold * last_spike(last, dynamics) + u
    return spike(u, dynamics.threshold, dynamics.surrogate).to(current.dtype), u


def naive_undecayed_scan(current: Tensor, dynamics: Dynamics) -> Tensor:
    """Return the spikes of a layer, ``[T, B, ...]``, for a whole sequence of currents."""
    u = None
    spikes = []
    for now in current.unbind(0):
        s, u = undecayed_step(now, u, dynamics)
        spikes.append(s)
    return torch.stack(spikes)
