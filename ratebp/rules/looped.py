"""All time steps of a leaf that takes them one by one."""

from __future__ import annotations

import torch
from torch import Tensor

from ratebp.views import Leaf


class Looped(Leaf):
    """All time steps of one layer, folded ``[T*B, ...]``: a loop, one sequence a call."""

    def __init__(self, step: Leaf, timesteps: int) -> None:
        """Take the leaf that runs one time step."""
        super().__init__()
        self.one = step
        self.timesteps = timesteps

    def forward(self, current: Tensor) -> Tensor:
        """Return spikes, shape of `current`."""
        steps = current.unflatten(0, (self.timesteps, -1)).unbind(0)
        self.one.reset()
        spikes = torch.stack([self.one(now) for now in steps]).flatten(0, 1)
        self.one.reset()
        return spikes
