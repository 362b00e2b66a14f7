"""The scan with an undecayed reset, its backward written out: one potential a neuron and step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ratebp.dynamics import Dynamics
from ratebp.ops import operands


class _UndecayedScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, current: Tensor, dynamics: Dynamics) -> Tensor:
        wide = torch.promote_types(current.dtype, torch.float32)
        potentials = torch.empty_like(current, dtype=wide)
        spikes = _run(current, dynamics, potentials)
        ctx.save_for_backward(potentials)
        ctx.dynamics = dynamics
        return spikes

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (potentials,) = ctx.saved_tensors
        d: Dynamics = ctx.dynamics
        out = torch.empty_like(grads[0])
        later: Tensor | None = None  # dL/du[t+1]
        for t in reversed(range(len(potentials))):
            u = potentials[t]
            h = d.surrogate.derivative(u - d.threshold)
            now = grads[0].select(0, t) * h
            if later is not None:
                now = now + later * (d.decay if d.detach_reset else d.decay - d.threshold * h)
            out.select(0, t).copy_(now)
            later = now
        return out, None


def _run(current: Tensor, d: Dynamics, potentials: Tensor | None) -> Tensor:
    wide = torch.promote_types(current.dtype, torch.float32)
    spikes = torch.empty_like(current)
    last: tuple[Tensor, Tensor] | None = None
    for t, now in enumerate(current.unbind(0)):
        u = now.to(wide)
        if last is not None:
            u = d.decay * last[0] - d.threshold * last[1] + u
        if potentials is not None:
            potentials.select(0, t).copy_(u)
        s = (u >= d.threshold).to(wide)
        spikes.select(0, t).copy_(s)
        last = u, s
    return spikes


def undecayed_scan(current: Tensor, dynamics: Dynamics) -> Tensor:
    """Return the spikes of a layer for a whole sequence, like `naive_undecayed_scan`.

    Args:
        current: input current, ``[T, B, ...]``.
        dynamics: the layer's constants.

    Returns:
        Spikes, shape and dtype of `current`.
    """
    operands.sequence("undecayed_scan", current)
    if torch.is_grad_enabled() and current.requires_grad:
        out: Tensor = _UndecayedScan.apply(current, dynamics)
        return out
    return _run(current, dynamics, None)
