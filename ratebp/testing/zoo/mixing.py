"""Operations that mix the samples of a batch, which folded time steps must not share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ratebp.testing.zoo.base import network, two


def _batch(mix: Callable[[Tensor], Tensor]) -> nn.Module:
    return two(lambda s, x: s.f2(s.l1(mix(s.f1(s.l0(s.f0(x)))))))


@network(5)
def batch_flipped() -> nn.Module:
    """x.flip(0) over the batch."""
    return _batch(lambda c: c + 0.5 * c.flip(0))


@network(5)
def batch_rolled() -> nn.Module:
    """x.roll(1, 0) over the batch."""
    return _batch(lambda c: c + 2 * c.roll(1, 0))


@network(5)
def batch_similarity() -> nn.Module:
    """x @ x.t(), every sample with every other."""
    return _batch(lambda c: 0.1 * (c @ c.t()) @ c)


@network(5)
def batch_cumulated() -> nn.Module:
    """cumsum over the batch."""
    return _batch(lambda c: c.cumsum(0))


@network(5)
def batch_softmax() -> nn.Module:
    """A softmax over the batch."""
    return _batch(lambda c: 2 * c.softmax(0))


@network(5)
def batch_maximum() -> nn.Module:
    """A current less the largest of the batch, c - c.max()."""
    return _batch(lambda c: 1 + c - 0.5 * c.max())


@network(5)
def batch_first_sample() -> nn.Module:
    """Every sample sees the first one, c - c[:1]."""
    return _batch(lambda c: c - 0.5 * c[:1])


@network(5)
def batch_doubled() -> nn.Module:
    """The batch is doubled by torch.cat and halved again."""

    def forward(s: Any, x: Tensor) -> Any:
        a = s.l0(s.f0(torch.cat([x, -x])))
        first, second = s.l1(s.f1(a)).chunk(2)
        return s.f2(first + second)

    return two(forward)


@network(5)
def batch_standardised() -> nn.Module:
    """A current standardised by its mean and deviation over everything."""
    return _batch(lambda c: 2 * (c - c.mean()) / c.std())


@network(5)
def batch_contrast() -> nn.Module:
    """Distances between samples, torch.cdist."""

    def forward(s: Any, x: Tensor) -> Any:
        c = s.f1(s.l0(s.f0(x)))
        return s.f2(s.l1(c + 0.2 * torch.cdist(c, c).sum(1, keepdim=True)))

    return two(forward)
