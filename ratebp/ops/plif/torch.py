"""The PLIF scan with its backward written out: keeps one potential a neuron and time step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ratebp.dynamics import Dynamics
from ratebp.ops import operands


class _PlifScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, current: Tensor, share: Tensor, undecayed: Dynamics) -> Tensor:
        wide = torch.promote_types(current.dtype, torch.float32)
        potentials = torch.empty_like(current, dtype=wide)
        spikes = _run(current, share, undecayed, potentials)
        ctx.save_for_backward(potentials, share)
        ctx.undecayed = undecayed
        return spikes

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        potentials, share = ctx.saved_tensors
        d: Dynamics = ctx.undecayed
        k = share.to(potentials.dtype)
        out = torch.empty_like(grads[0])
        to_share = torch.zeros_like(k)
        steps = potentials.unbind(0)
        later: Tensor | None = None  # dL/du[t+1]
        for t in reversed(range(len(steps))):
            u = steps[t]
            h = d.surrogate.derivative(u - d.threshold)
            now = grads[0].select(0, t) * h
            if later is not None:
                now = now + later * ((1 - k) * d.carry_grad(u, h))
            out.select(0, t).copy_(now * k)
            # du/dk = I - r, and u = r + k (I - r): the current itself need not be kept.
            rest = u - _after_reset(steps[t - 1], d) if t else u
            to_share += (now * rest).sum() / k
            later = now
        return out, to_share.to(share.dtype), None


def _after_reset(u: Tensor, d: Dynamics) -> Tensor:
    return d.carry(u, (u >= d.threshold).to(u.dtype))


def _run(current: Tensor, share: Tensor, d: Dynamics, potentials: Tensor | None) -> Tensor:
    wide = torch.promote_types(current.dtype, torch.float32)
    k = share.to(wide)
    spikes = torch.empty_like(current)
    kept = potentials.unbind(0) if potentials is not None else ()
    last: Tensor | None = None
    for t, (now, slot) in enumerate(zip(current.unbind(0), spikes.unbind(0), strict=True)):
        u = k * now.to(wide)
        if last is not None:
            u = (1 - k) * _after_reset(last, d) + u
        if kept:
            kept[t].copy_(u)
        slot.copy_((u >= d.threshold).to(wide))
        last = u
    return spikes


def plif_scan(current: Tensor, share: Tensor, undecayed: Dynamics) -> Tensor:
    """Return the spikes of a PLIF layer for a whole sequence, like `naive_plif_scan`.

    Args:
        current: input current, ``[T, B, ...]``.
        share: 1/tau, a scalar in (0, 1).
        undecayed: the layer's constants, with a decay of 1.

    Returns:
        Spikes, shape and dtype of `current`.
    """
    operands.sequence("plif_scan", current)
    if share.numel() != 1:
        raise operands.refused("plif_scan", "share", share, "a scalar, one for the layer")
    if torch.is_grad_enabled() and (current.requires_grad or share.requires_grad):
        out: Tensor = _PlifScan.apply(current, share, undecayed)
        return out
    return _run(current, share, undecayed, None)
