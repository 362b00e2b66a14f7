"""The LIF scan in plain torch, differentiated by autograd."""

from __future__ import annotations

import torch
from torch import Tensor

from ratebp.dynamics import Dynamics
from ratebp.ops.lif_step.naive import naive_lif_step


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
