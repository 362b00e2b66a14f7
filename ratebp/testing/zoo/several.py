"""Several inputs and outputs, frozen layers, and losses that are no cross entropy."""

from __future__ import annotations

from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ratebp.testing.zoo.base import CLASSES, lif, network, plain, two


class _Two(nn.Module):
    """Two signals, each with a layer of its own, joined before the last spiking layer."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.la = nn.Linear(5, 6), lif()
        self.b, self.lb = nn.Linear(4, 6), lif(decay=0.4)
        self.m, self.lm = nn.Linear(12, 6), lif()
        self.cls, self.more = nn.Linear(6, CLASSES), nn.Linear(6, 2)

    def join(self, first: Tensor, second: Tensor) -> Tensor:
        both = torch.cat([self.la(self.a(first)), self.lb(self.b(second))], -1)
        features: Tensor = self.lm(self.m(both))
        return features


def _of_two_heads(out: Any, y: Tensor) -> Tensor:
    cls, more = out.values() if isinstance(out, dict) else out
    value: Tensor = F.cross_entropy(cls, y) + more.pow(2).mean()
    return value


def _squares(out: Tensor, y: Tensor) -> Tensor:
    return F.mse_loss(out, F.one_hot(y, out.shape[1]).movedim(-1, 1).to(out.dtype))


@network(5, others=((4,),))
def two_inputs() -> nn.Module:
    """Two inputs, forward(first, second)."""

    class Joined(_Two):
        def forward(self, first: Tensor, second: Tensor) -> Any:
            return self.cls(self.join(first, second))

    return Joined()


@network(5, others=((4,),), asks=True)
def two_inputs_that_ask() -> nn.Module:
    """Two inputs that ask for their gradients, added up behind their layers."""

    class Added(_Two):
        def forward(self, first: Tensor, second: Tensor) -> Any:
            return self.cls(self.la(self.a(first) + self.b(second)))

    return Added()


@network(5, others=((1,),))
def input_as_a_gate() -> nn.Module:
    """A second input that multiplies spikes."""

    class Gated(_Two):
        def forward(self, first: Tensor, second: Tensor) -> Any:
            return self.cls(self.la(self.a(first)) * second)

    return Gated()


@network(5, loss=_of_two_heads)
def tuple_output() -> nn.Module:
    """A tuple of two heads, with a loss over both."""

    class Couple(_Two):
        def forward(self, x: Tensor) -> Any:
            features = self.join(x, x[:, :4])
            return self.cls(features), self.more(features)

    return Couple()


@network(5, loss=_of_two_heads)
def dict_output() -> nn.Module:
    """A dict of the logits and of the spikes of a hidden layer, with a loss over both."""

    class ByName(_Two):
        def forward(self, x: Tensor) -> Any:
            features = self.join(x, x[:, :4])
            return {"logits": self.cls(features), "features": features}

    return ByName()


@network(5, loss=_squares)
def regression() -> nn.Module:
    """Squared distances to targets."""
    return two(plain)


@network(2, 4, 4, dense=(4, 4), loss=_squares)
def dense_regression() -> nn.Module:
    """Squared distances at every pixel, [B, K, H, W], behind a frozen transposed convolution."""
    up = nn.ConvTranspose2d(4, 5, 2, stride=2)
    up.requires_grad_(False)
    return nn.Sequential(
        *(nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), lif(), up, lif()),
        nn.Conv2d(5, CLASSES, 1),
    )


@network(2, 5, 5)
def frozen_stages() -> nn.Module:
    """A frozen stem, and a frozen convolution with a frozen norm in eval mode in the middle."""

    class Partly(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), lif())
            self.body = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), lif())
            self.fixed = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4))
            self.last, self.fc = lif(), nn.Linear(100, CLASSES)
            self.stem.requires_grad_(False)
            self.fixed.requires_grad_(False)

        def train(self, mode: bool = True) -> Self:
            super().train(mode)
            self.fixed.eval()
            return self

        def forward(self, x: Tensor) -> Any:
            a = self.body(self.stem(x))
            return self.fc(self.last(self.fixed(a) + a).flatten(1))

    return Partly()


@network(4, ids=9)
def embedding_with_a_mask() -> nn.Module:
    """Token ids into nn.Embedding, and a mask of the padding made of them."""

    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.e, self.f0, self.l0 = nn.Embedding(9, 5, padding_idx=0), nn.Linear(5, 6), lif()
            self.f1 = nn.Linear(6, CLASSES)

        def forward(self, ids: Tensor) -> Any:
            kept = (ids != 0).to(self.f0.weight.dtype).unsqueeze(-1)
            return self.f1((self.l0(self.f0(self.e(ids))) * kept).mean(1))

    return Masked()
