"""A network that every method trains, for tests that name it by its place."""

from __future__ import annotations

from torch import nn

import ratebp


def small(num_classes: int, in_channels: int) -> nn.Module:
    """Two convolutions and a readout for 8x8 images; without norms, which some methods refuse."""
    return nn.Sequential(
        nn.Conv2d(in_channels, 4, 3, padding=1),
        ratebp.LIF(),
        nn.Conv2d(4, 6, 3, stride=2),
        ratebp.LIF(),
        nn.Flatten(),
        nn.Linear(54, num_classes),
    )
