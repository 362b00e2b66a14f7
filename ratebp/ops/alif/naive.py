"""The ALIF neuron in plain torch, differentiated by autograd."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ratebp.dynamics import Dynamics
from ratebp.ops.spike import spike


class Adaptation(NamedTuple):
    """The constants of the moving threshold: by how much a spike raises it, and its decay."""

    strength: float
    decay: float


class AlifState(NamedTuple):
    """Potential before the reset, adaptation, and the margin ``u - threshold - strength * a``."""

    potential: Tensor
    adaptation: Tensor
    margin: Tensor


def alif_step(
    current: Tensor, last: AlifState | None, charging: Dynamics, adaptation: Adaptation
) -> tuple[Tensor, AlifState]:
    """Return the spikes and the state of one time step.

    ::

        u = charging.carry(u_last, s_last) + I,   a = decay * a_last + s_last
        s = H(u - threshold - strength * a)

    Args:
        current: input current I of this step, ``[B, ...]``.
        last: the last step's state; None at the first step.
        charging: the constants of the potential.
        adaptation: those of the threshold.

    Returns:
        ``s`` in the dtype of `current`, and the state in at least float32.
    """
    if last is None:
        u = current.to(torch.promote_types(current.dtype, torch.float32), copy=True)
        a = torch.zeros_like(u)
    else:
        s = spike(last.margin, 0.0, charging.surrogate)
        u = charging.carry(last.potential, s.detach() if charging.detach_reset else s) + current
        a = adaptation.decay * last.adaptation + s
    margin = u - (charging.threshold + adaptation.strength * a)
    spikes = spike(margin, 0.0, charging.surrogate)
    return spikes.to(current.dtype), AlifState(u, a, margin)


def naive_alif_scan(current: Tensor, charging: Dynamics, adaptation: Adaptation) -> Tensor:
    """Return the spikes of an ALIF layer, ``[T, B, ...]``, for a whole sequence of currents."""
    state = None
    spikes = []
    for now in current.unbind(0):
        s, state = alif_step(now, state, charging, adaptation)
        spikes.append(s)
    return torch.stack(spikes)
