"""Sums over time steps, and their opposite: one step in the place of all."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ratebp.ops.backends import by_hand


class _EveryStep(torch.autograd.Function):
    """Expands one step ``[1, B, ...]`` to T; the backward sums over time."""

    @staticmethod
    def forward(ctx: Any, step: Tensor, timesteps: int) -> Tensor:
        return step.expand(timesteps, *step.shape[1:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return sum_of_steps(grads[0], grads[0].dtype).unsqueeze(0), None


def every_step(steps: Tensor, timesteps: int) -> Tensor:
    """Return ``[T, B, ...]``: `steps`, or the one in ``[1, B, ...]`` T times, without memory.

    The gradient by the one is the sum over time.

    Args:
        steps: T or 1 of them.
        timesteps: T.
    """
    if len(steps) == timesteps:
        return steps
    out: Tensor = _EveryStep.apply(steps, timesteps)
    return out


def sum_of_steps(steps: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the sum over dimension 0 in `dtype`, in fresh memory."""
    if not by_hand(steps):
        return steps.sum(0, dtype=dtype)
    first, *rest = steps.unbind(0)
    fresh = not rest or steps.dtype != dtype
    total = first.to(dtype, copy=True) if fresh else first + rest.pop(0)
    for now in rest:
        total.add_(now)
    return total
