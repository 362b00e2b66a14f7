"""One time step of a LIF layer with its backward written out: keeps the potential alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ratebp.dynamics import Dynamics
from ratebp.ops import operands
from ratebp.ops.lif.naive import naive_lif_step
from ratebp.ops.lif.torch import charged, fired, through_time
from ratebp.ops.spike import slope


class _LifStep(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, current: Tensor, last: Tensor | None, dynamics: Dynamics
    ) -> tuple[Tensor, Tensor]:
        u = charged(current, last, dynamics)
        through = ctx.needs_input_grad[1] and not dynamics.constant_jacobian
        ctx.save_for_backward(u, last if through else None)
        ctx.dynamics, ctx.dtype = dynamics, current.dtype
        ctx.set_materialize_grads(False)
        return fired(u, dynamics).to(current.dtype), u

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        u, last = ctx.saved_tensors
        dynamics: Dynamics = ctx.dynamics
        ds, later = grads
        du = later
        if ds is not None:
            du = slope(u, dynamics).mul_(ds)
            du = du if later is None else du.add_(later)
        assert du is not None
        by_last = through_time(du, last, dynamics) if ctx.needs_input_grad[1] else None
        return du.to(ctx.dtype), by_last, None


def check(current: Tensor, last: Tensor | None, dynamics: Dynamics) -> None:
    """Refuse a last potential that is not one for each current."""
    operands.alike("lif_step", current, last=last)


def lif_step(current: Tensor, last: Tensor | None, dynamics: Dynamics) -> tuple[Tensor, Tensor]:
    """Return what `naive_lif_step` returns, in half the passes over memory.

    Kept for the backward: the potential, which is the layer's state anyway, and the last one only
    if it takes a gradient and the temporal Jacobian depends on it. In graphs of torch.compile,
    which fuses passes, the readable version runs.
    """
    if torch.compiler.is_compiling():
        return naive_lif_step(current, last, dynamics)
    spikes: Tensor
    spikes, u = _LifStep.apply(current, last, dynamics)
    return spikes, u
