"""The LIF scan with its backward written out: keeps one potential a neuron and time step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ratebp.dynamics import Dynamics
from ratebp.ops import operands
from ratebp.ops.lif.torch import leak_
from ratebp.ops.spike import slope


class _LifScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, current: Tensor, dynamics: Dynamics) -> Tensor:
        wide = torch.promote_types(current.dtype, torch.float32)
        potentials = torch.empty_like(current, dtype=wide)
        spikes = run(current, dynamics, potentials)
        ctx.save_for_backward(potentials)
        ctx.dynamics = dynamics
        return spikes

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (potentials,) = ctx.saved_tensors
        dynamics: Dynamics = ctx.dynamics
        out = torch.empty_like(grads[0])
        later: Tensor | None = None  # dL/du[t+1]
        steps = list(zip(out.unbind(0), grads[0].unbind(0), potentials.unbind(0), strict=True))
        for slot, grad, u in reversed(steps):
            h = slope(u, dynamics)
            now = grad * h
            if later is not None:
                now = now + later * dynamics.carry_grad(u, h)
            slot.copy_(now)
            later = now
        return out, None


def run(current: Tensor, dynamics: Dynamics, potentials: Tensor | None) -> Tensor:
    """Return the spikes, and fill `potentials` with u where it is given."""
    spikes = torch.empty_like(current)
    wide = torch.promote_types(current.dtype, torch.float32)
    u = torch.zeros_like(current[0], dtype=wide)
    kept = potentials.unbind(0) if potentials is not None else ()
    for t, (now, slot) in enumerate(zip(current.unbind(0), spikes.unbind(0), strict=True)):
        u.add_(now)
        if kept:
            kept[t].copy_(u)
        leak_(u, _fired_in(slot, u, dynamics), dynamics)
    return spikes


def _fired_in(slot: Tensor, u: Tensor, dynamics: Dynamics) -> Tensor:
    """Write the spikes of potentials `u` into `slot`, and return them in the type of `u`.

    Spikes are compared for as floats, never as booleans: a CPU vectorises neither the comparison
    into booleans nor what reads them.
    """
    fired = slot if slot.dtype == u.dtype else torch.empty_like(u)
    torch.ge(u, dynamics.threshold, out=fired)
    if fired is not slot:
        slot.copy_(fired)
    return fired


def check(current: Tensor, dynamics: Dynamics) -> None:
    """Refuse what has no time steps."""
    operands.sequence("lif_scan", current)


def lif_scan(current: Tensor, dynamics: Dynamics) -> Tensor:
    """Return the spikes of a LIF layer for a whole sequence, like `naive_lif_scan`.

    The backward runs the adjoint of the LIF equation from the last step to the first (see the
    README beside this file). Without a graph to build, nothing per-step is kept.

    Args:
        current: input current, ``[T, B, ...]``.
        dynamics: the layer's constants.

    Returns:
        Spikes, shape and dtype of `current`.
    """
    if torch.is_grad_enabled() and current.requires_grad:
        out: Tensor = _LifScan.apply(current, dynamics)
        return out
    return run(current, dynamics, None)
