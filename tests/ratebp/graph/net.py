"""A small network with a forward that a test writes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import ratebp

T, B = 3, 4


class Net(nn.Module):
    """Two layers of neurons, and a forward that a test writes."""

    def __init__(self, run: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.run = run
        self.f0, self.l0, self.f1 = nn.Linear(5, 6), ratebp.LIF(0.9, 0.3), nn.Linear(6, 6)
        self.l1, self.f2 = ratebp.LIF(0.9, 0.3), nn.Linear(6, 3)
        self.wide = True

    def layers(self, x: Tensor) -> Tensor:
        out: Tensor = self.f2(self.l1(self.f1(self.l0(self.f0(x)))))
        return out

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.run(self, x)
        return out


def inputs(*shape: int) -> Tensor:
    return torch.randn(T, B, *(shape or (5,)), generator=torch.Generator().manual_seed(1))
