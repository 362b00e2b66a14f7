"""One time step of a LIF layer that also advances the trace of its spikes, in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor

from ratebp.dynamics import Dynamics
from ratebp.ops import operands
from ratebp.ops.lif_step.adjoint import lif_step


def check(
    current: Tensor, last: Tensor | None, trace: Tensor | None, dynamics: Dynamics, decay: float
) -> None:
    """Refuse a last potential or trace that is not one for each current."""
    operands.alike("lif_step_traced", current, last=last, trace=trace)


def lif_step_traced(
    current: Tensor, last: Tensor | None, trace: Tensor | None, dynamics: Dynamics, decay: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the spikes, the potential and the trace of one time step.

    ::

        s, u = lif_step(current, last, dynamics),   a = decay * a_last + s

    The trace is a constant in the backward (OTTT, Xiao et al. 2022).

    Args:
        current: input current of this step, ``[B, ...]``.
        last: the last step's potential; None at the first step.
        trace: the last step's trace; None at the first step.
        dynamics: the layer's constants.
        decay: of the trace, in [0, 1].

    Returns:
        ``s`` in the dtype of `current`; ``u`` and ``a`` in at least float32.
    """
    spikes, u = lif_step(current, last, dynamics)
    now = spikes.detach().to(u.dtype, copy=True)
    if trace is not None:
        now = torch.add(now, trace, alpha=decay)
    return spikes, u, now
