"""The ALIF scan with its backward written out: keeps two tensors a neuron and time step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ratebp.dynamics import Dynamics
from ratebp.ops import operands
from ratebp.ops.alif.naive import Adaptation


class _AlifScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, current: Tensor, charging: Dynamics, adaptation: Adaptation) -> Tensor:
        wide = torch.promote_types(current.dtype, torch.float32)
        potentials = torch.empty_like(current, dtype=wide)
        margins = torch.empty_like(potentials)
        spikes = _run(current, charging, adaptation, (potentials, margins))
        ctx.save_for_backward(potentials, margins)
        ctx.charging, ctx.adaptation = charging, adaptation
        return spikes

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        d: Dynamics = ctx.charging
        strength, decay = ctx.adaptation
        out = torch.empty_like(grads[0])
        later: tuple[Tensor, Tensor] | None = None  # dL/du[t+1], dL/da[t+1]
        kept = [each.unbind(0) for each in ctx.saved_tensors]
        steps = list(zip(out.unbind(0), grads[0].unbind(0), *kept, strict=True))
        for slot, grad, u, margin in reversed(steps):
            h = d.surrogate.derivative(margin)
            if later is None:
                to_u = grad * h
                to_a = -strength * to_u
            else:
                fired = (margin >= 0).to(u.dtype)
                to_spike = grad + later[1]
                if not d.detach_reset:
                    to_spike = to_spike - later[0] * d.decay * _reset_by(u, d)
                through = to_spike * h
                to_u = through + later[0] * d.decay * (1 if d.reset == "soft" else 1 - fired)
                to_a = decay * later[1] - strength * through
            slot.copy_(to_u)
            later = to_u, to_a
        return out, None, None


def _reset_by(u: Tensor, d: Dynamics) -> Tensor | float:
    """Return what a spike takes from the potential `u`."""
    return d.threshold if d.reset == "soft" else u


def _run(
    current: Tensor, d: Dynamics, adaptation: Adaptation, kept: tuple[Tensor, Tensor] | None
) -> Tensor:
    wide = torch.promote_types(current.dtype, torch.float32)
    spikes = torch.empty_like(current)
    carry: Tensor | None = None
    a: Tensor | None = None
    for t, (now, slot) in enumerate(zip(current.unbind(0), spikes.unbind(0), strict=True)):
        u = now.to(wide) if carry is None else carry + now
        a = torch.zeros_like(u) if a is None else a
        margin = u - (d.threshold + adaptation.strength * a)
        if kept is not None:
            kept[0].select(0, t).copy_(u)
            kept[1].select(0, t).copy_(margin)
        s = (margin >= 0).to(wide)
        slot.copy_(s)
        carry = d.carry(u, s)
        a = adaptation.decay * a + s
    return spikes


def alif_scan(current: Tensor, charging: Dynamics, adaptation: Adaptation) -> Tensor:
    """Return the spikes of an ALIF layer for a whole sequence, like `naive_alif_scan`.

    Args:
        current: input current, ``[T, B, ...]``.
        charging: the constants of the potential.
        adaptation: those of the threshold.

    Returns:
        Spikes, shape and dtype of `current`.
    """
    operands.sequence("alif_scan", current)
    if torch.is_grad_enabled() and current.requires_grad:
        out: Tensor = _AlifScan.apply(current, charging, adaptation)
        return out
    return _run(current, charging, adaptation, None)
