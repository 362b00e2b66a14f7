"""Norms and dropouts as plainly as their equations say it, one time step a call; see `plain`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from zlib import crc32

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ratebp.norms import BNTT, TEBN
from ratebp.verification.lockstep import Lockstep

DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


def norm(leaf: Any, timesteps: int, lockstep: Lockstep | None) -> Callable[[Tensor], Tensor]:
    """Return what a call of a norm with batch statistics does.

    Args:
        leaf: a norm of torch's or of `ratebp.norms`.
        timesteps: T.
        lockstep: where steps meet, for statistics over T*B; None for those of each step.
    """
    now = -1

    def each(x: Tensor) -> Tensor:
        nonlocal now
        now = (now + 1) % timesteps
        if isinstance(leaf, BNTT):
            return _bntt(leaf, x, now)
        own = nn.BatchNorm2d.forward if isinstance(leaf, TEBN) else type(leaf).forward
        out: Tensor = own(leaf, x)
        return out * leaf.step_scale[now] if isinstance(leaf, TEBN) else out

    def together(steps: Tensor) -> Tensor:
        own = nn.BatchNorm2d.forward if isinstance(leaf, TEBN) else type(leaf).forward
        out: Tensor = own(leaf, steps.flatten(0, 1)).unflatten(0, (len(steps), -1))
        return out * leaf.step_scale.view(-1, 1, 1, 1, 1) if isinstance(leaf, TEBN) else out

    if lockstep is None or isinstance(leaf, BNTT):
        return each
    return lambda x: lockstep.meet(leaf, x, together)


def _bntt(leaf: BNTT, x: Tensor, t: int) -> Tensor:
    if leaf.training and t == 0 and leaf.num_batches_tracked is not None:
        leaf.num_batches_tracked.add_(1)
    statistics = leaf.running_mean[t], leaf.running_var[t]
    return F.batch_norm(
        x, *statistics, leaf.weight[t], None, leaf.training, leaf.momentum, leaf.eps
    )


def draw_alone(layer: Any, path: str) -> None:
    """Let a dropout draw from a generator of its own, so that no other draw shifts its masks.

    Both sides do so, each from the same seed. The masks of a sequence are what
    `ratebp.rules.dropout` says: one for all time steps. A method that draws twice gets two
    different ones, as it would without this. The class keeps its name: a forward may ask for it.
    """
    generator = torch.Generator().manual_seed(crc32(path.encode()))
    kind = type(layer)

    def forward(self: Any, x: Tensor) -> Tensor:
        if not self.training:
            return x
        shape = x.shape if kind is nn.Dropout else (*x.shape[:2], *[1] * (x.dim() - 2))
        kept = torch.rand(shape, generator=generator, dtype=x.dtype) >= self.p
        return x * kept / (1 - self.p) if self.p < 1 else x * 0

    layer.__class__ = type(kind.__name__, (kind,), {"forward": forward})


def masked(layer: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return a dropout's forward that draws one mask and keeps it."""
    mask: Tensor | None = None

    def forward(x: Tensor) -> Tensor:
        nonlocal mask
        if mask is None:
            mask = type(layer).forward(layer, torch.ones_like(x))
        return x * mask

    return forward
