"""Layers that stand for foreign ones which torch has no class for."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Gain(nn.Module):
    """A constant factor on the current of a neuron.

    Args:
        factor: what the current is multiplied by.
    """

    def __init__(self, factor: float) -> None:
        """Keep the factor."""
        super().__init__()
        self.factor = factor

    def forward(self, current: Tensor) -> Tensor:
        """Return the current, multiplied."""
        return current * self.factor

    def extra_repr(self) -> str:
        """Show the factor in the model's printout."""
        return f"factor={self.factor}"


class Voting(nn.Module):
    """The mean of each group of outputs: ``[B, K * size]`` to ``[B, K]``.

    Args:
        size: outputs that vote for one class.
    """

    def __init__(self, size: int) -> None:
        """Keep the size."""
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean of each group, ``[B, K]``."""
        return F.avg_pool1d(x.unsqueeze(1), self.size, self.size).squeeze(1)

    def extra_repr(self) -> str:
        """Show the size in the model's printout."""
        return f"size={self.size}"
