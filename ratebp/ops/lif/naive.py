"""A LIF layer in plain torch, differentiated by autograd: one time step, and all of them."""

from __future__ import annotations

import torch
from torch import Tensor

from ratebp.dynamics import Dynamics
from ratebp.ops.spike import spike


def naive_lif_step(
    current: Tensor, last: Tensor | None, dynamics: Dynamics
) -> tuple[Tensor, Tensor]:
    """Return the spikes and the potential of one time step.

    ::

        u = dynamics.carry(u_last, s_last) + I,   s = H(u - threshold)

    The potential before the reset is the whole state: the reset is applied at the start of the next
    step, from the spike that the potential implies. The potential is alive for the backward anyway,
    while one after the reset would be a tensor more. No result shares memory with `current` or with
    the other, so that a model may change its tensors in place.

    Args:
        current: input current I of this step, ``[B, ...]``.
        last: the last step's potential; None at the first step.
        dynamics: the layer's constants.

    Returns:
        ``s`` in the dtype of `current`, and ``u`` in at least float32: under autocast the potential
        integrates in float32 whatever the synapses compute in.
    """
    if last is None:
        u = current.to(torch.promote_types(current.dtype, torch.float32), copy=True)
    else:
        u = dynamics.carry(last, last_spike(last, dynamics)) + current
    return spike(u, dynamics.threshold, dynamics.surrogate).to(current.dtype), u


def last_spike(u: Tensor, dynamics: Dynamics) -> Tensor:
    """Return the spike that the potential `u` gave, a constant if the layer detaches its reset."""
    if dynamics.detach_reset:
        return (u >= dynamics.threshold).to(u.dtype)
    return spike(u, dynamics.threshold, dynamics.surrogate)


def naive_lif_scan(current: Tensor, dynamics: Dynamics) -> Tensor:
    """Return the spikes of a LIF layer for a whole sequence.

    Args:
        current: input current, ``[T, B, ...]``.
        dynamics: the layer's constants.

    Returns:
        Spikes, shape and dtype of `current`.
    """
    u = None
    spikes = []
    # Indexing current[t] would make the backward quadratic in T: each index's gradient is a full
    # [T, ...] tensor. unbind's gradient is one stack.
    for now in current.unbind(0):
        s, u = naive_lif_step(now, u, dynamics)
        spikes.append(s)
    return torch.stack(spikes)
