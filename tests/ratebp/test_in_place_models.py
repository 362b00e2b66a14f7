"""Models that change tensors in place, or read spikes twice, train as their functional twins do."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import ratebp


class Residual(nn.Module):
    """One residual block; `in_place` says how its sum is written."""

    def __init__(self, in_place: bool) -> None:
        super().__init__()
        self.in_place = in_place
        self.stem, self.norm0 = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.conv, self.norm = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.lif0, self.lif1 = ratebp.LIF(), ratebp.LIF()
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        s = self.lif0(self.norm0(self.stem(x)))
        pooled = s.mean((2, 3))
        out = self.norm(self.conv(s))
        if self.in_place:
            out += s
        else:
            out = out + s
        logits: Tensor = self.head(self.lif1(out).mean((2, 3)) + pooled)
        return logits


class Unpooled(Residual):
    """The same, its spikes taken by leaves alone, so that they may be kept in fewer bytes."""

    def forward(self, x: Tensor) -> Tensor:
        s = self.lif0(self.norm0(self.stem(x)))
        out = self.norm(self.conv(s))
        if self.in_place:
            out += s
        else:
            out = out + s
        logits: Tensor = self.head(self.lif1(out).mean((2, 3)))
        return logits


METHODS = [
    ("bptt_m", {}),
    ("rate_m", {}),
    ("rate_m", {"pre_activations": "recomputed"}),
    ("rate_s", {}),
    ("sltt", {}),
    ("sltt", {"pre_activations": "recomputed"}),
    ("ottt_a", {}),
]


def gradients(
    kind: type[Residual], in_place: bool, method: str, options: dict[str, str]
) -> dict[str, Tensor]:
    torch.manual_seed(0)
    model = kind(in_place).double()
    x, y = 2 * torch.randn(3, 4, 2, 5, 5, dtype=torch.float64), torch.tensor([0, 1, 2, 0])
    ratebp.methods.get(method, **options).bind(model, 3).step(x, y)
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("kind", [Residual, Unpooled])
@pytest.mark.parametrize(("method", "options"), METHODS, ids=str)
def test_in_place_sums(kind: type[Residual], method: str, options: dict[str, str]) -> None:
    got, want = (gradients(kind, each, method, options) for each in (True, False))
    assert got.keys() == want.keys()
    for name, grad in want.items():
        torch.testing.assert_close(got[name], grad, rtol=1e-9, atol=1e-12)
