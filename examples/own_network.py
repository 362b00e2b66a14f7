"""An example of a network and a data set of your own: see docs/own-network.md."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import ratebp


class Net(nn.Module):
    """Two convolutions with batch norm and LIF neurons, for one time step."""

    def __init__(self, num_classes: int, in_channels: int, width: int = 16) -> None:
        """Take classes and channels from the data, the width from the sweep."""
        super().__init__()
        self.first = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(width)
        self.first_lif = ratebp.LIF(decay=0.5)
        self.second = nn.Conv2d(width, width, 3, stride=2, bias=False)
        self.second_norm = nn.BatchNorm2d(width)
        self.second_lif = ratebp.LIF(decay=0.5)
        self.head = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map one time step of images ``[B, C, H, W]`` to logits ``[B, K]``."""
        x = self.first_lif(self.first_norm(self.first(x)))
        x = self.second_lif(self.second_norm(self.second(x)))
        return self.head(x.mean((2, 3)))


def stripes(size: int = 8, samples: int = 512) -> tuple[tuple[Tensor, Tensor], ...]:
    """Noisy stripes, upright (0) or lying (1): a task that a small network learns in seconds."""
    labels = torch.arange(samples) % 2
    wave = torch.sin(torch.arange(size) * 2.0)
    upright, lying = wave.expand(size, size), wave[:, None].expand(size, size)
    images = torch.stack([upright, lying])[labels] + 0.5 * torch.randn(samples, size, size)
    cut = samples * 3 // 4
    images = images[:, None]
    return (images[:cut], labels[:cut]), (images[cut:], labels[cut:])
