"""Operations between the leaves: pools, shapes, indexing, scalars, activations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ratebp.testing.zoo.base import CLASSES, Net, lif, network

Forward = Callable[[Any, Tensor], Any]


def _image(between: Forward, width: int = 4, **more: Any) -> nn.Module:
    """Put `between` on the map of spikes ``[B, 4, 6, 6]`` of a stem, in front of a second layer."""

    def forward(s: Any, x: Tensor) -> Any:
        return s.fc(s.l1(s.c1(between(s, s.l0(s.c0(x))))).mean((2, 3)))

    return Net(
        forward,
        c0=nn.Conv2d(2, 4, 3, padding=1),
        l0=lif(),
        c1=nn.Conv2d(width, 5, 3, padding=1),
        l1=lif(),
        fc=nn.Linear(5, CLASSES),
        **more,
    )


@network(2, 6, 6)
def max_pool_of_spikes() -> nn.Module:
    """Max pooling behind a neuron."""
    return _image(lambda s, a: s.pool(a), pool=nn.MaxPool2d(2))


@network(2, 6, 6)
def max_pool_of_currents() -> nn.Module:
    """Max pooling in front of a neuron."""
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.MaxPool2d(3, 2, 1),
        lif(),
        nn.Conv2d(4, 4, 3),
        nn.MaxPool2d(1),
        lif(),
        nn.Flatten(),
        nn.Linear(4, CLASSES),
    )


@network(2, 6, 6)
def average_pool() -> nn.Module:
    """Average pooling, as a module and as a function."""
    return _image(lambda s, a: F.avg_pool2d(s.pool(a), 3), pool=nn.AvgPool2d(2))


@network(2, 6, 6)
def adaptive_pool() -> nn.Module:
    """Adaptive average and max pooling."""
    return _image(
        lambda s, a: s.pool(a) + F.adaptive_max_pool2d(a, 2), pool=nn.AdaptiveAvgPool2d(2)
    )


@network(2, 6, 6)
def pixel_shuffle() -> nn.Module:
    """Pixel shuffle and unshuffle."""
    return _image(lambda s, a: s.up(F.pixel_unshuffle(a, 2)), up=nn.PixelShuffle(2))


@network(2, 6, 6)
def reshape_permute() -> nn.Module:
    """Reshape, view and permute with sizes read off the tensor."""

    def between(s: Any, a: Tensor) -> Any:
        b, c, h, w = a.shape
        a = a.reshape(b, c, h * w).permute(0, 2, 1).contiguous()
        return a.transpose(1, 2).view(b, c, h, w)

    return _image(between)


@network(2, 6, 6)
def patch_embedding() -> nn.Module:
    """Patches as tokens: a strided convolution, flatten(2).transpose(1, 2)."""

    def forward(s: Any, x: Tensor) -> Any:
        tokens = s.l0(s.patch(x).flatten(2).transpose(1, 2))
        return s.f2(s.l1(s.f1(tokens)).mean(1))

    return Net(
        forward,
        patch=nn.Conv2d(2, 6, 2, stride=2),
        l0=lif(),
        f1=nn.Linear(6, 6),
        l1=lif(),
        f2=nn.Linear(6, CLASSES),
    )


@network(2, 6, 6)
def strided_indexing() -> nn.Module:
    """Indexing, x[:, :, ::2, ::2] and x[:, 1:3]."""
    return _image(lambda s, a: a[:, 1:3, ::2, ::2], width=2)


@network(2, 6, 6)
def padding() -> nn.Module:
    """F.pad and nn.ZeroPad2d."""
    return _image(lambda s, a: s.pad(F.pad(a, (1, 0, 1, 0))), pad=nn.ZeroPad2d(1))


@network(2, 6, 6)
def upsampling() -> nn.Module:
    """nn.Upsample and F.interpolate."""

    def between(s: Any, a: Tensor) -> Any:
        return s.up(F.interpolate(a, size=(3, 3), mode="nearest"))

    return _image(between, up=nn.Upsample(scale_factor=2, mode="bilinear"))


@network(2, 6, 6)
def channel_shuffle() -> nn.Module:
    """Channel shuffle of grouped convolutions."""
    return _image(lambda s, a: a.unflatten(1, (2, 2)).transpose(1, 2).flatten(1, 2))


@network(2, 6, 6)
def crop_and_stack() -> nn.Module:
    """torch.stack, unbind, roll and flip over space."""

    def between(s: Any, a: Tensor) -> Any:
        both = torch.stack([a.roll(1, dims=-1), a.flip(-1)], dim=1)
        first, second = both.unbind(1)
        return first + second

    return _image(between)


@network(2, 6, 6)
def squeeze_and_excitation() -> nn.Module:
    """An SE gate: spikes times the sigmoid of a small network of their mean."""

    def between(s: Any, a: Tensor) -> Any:
        gate = torch.sigmoid(s.g2(torch.relu(s.g1(a.mean((2, 3))))))
        return a * gate[:, :, None, None]

    return _image(between, g1=nn.Linear(4, 3), g2=nn.Linear(3, 4))


@network(4, ids=9)
def embedding() -> nn.Module:
    """Token ids into nn.Embedding."""

    def forward(s: Any, x: Tensor) -> Any:
        return s.f1(s.l0(s.f0(s.e(x))).mean(1))

    return Net(
        forward, e=nn.Embedding(9, 5), f0=nn.Linear(5, 6), l0=lif(), f1=nn.Linear(6, CLASSES)
    )


@network(2, 4, 4, dense=(4, 4))
def dense_output() -> nn.Module:
    """A class for every pixel, [B, K, H, W]."""
    return nn.Sequential(
        nn.Conv2d(2, 5, 3, padding=1),
        nn.BatchNorm2d(5),
        lif(),
        nn.Conv2d(5, CLASSES, 3, padding=1),
    )


@network(2, 6, 6)
def max_unpool() -> nn.Module:
    """Max pooling with indices, and unpooling by them."""

    def between(s: Any, a: Tensor) -> Any:
        pooled, places = F.max_pool2d(a, 2, return_indices=True)
        return F.max_unpool2d(pooled, places, (2, 2))

    return _image(between)


@network(2, 6, 6)
def unfold() -> nn.Module:
    """F.unfold and F.fold."""

    def between(s: Any, a: Tensor) -> Any:
        return F.fold(F.unfold(a, 2, stride=2) * 0.5, (6, 6), 2, stride=2)

    return _image(between)


@network(2, 6, 6)
def fourier() -> nn.Module:
    """A filter in the Fourier domain."""

    def between(s: Any, a: Tensor) -> Any:
        return torch.fft.irfft2(torch.fft.rfft2(a) * 0.7, s=(6, 6))

    return _image(between)


@network(2, 6, 6)
def where() -> nn.Module:
    """torch.where and masked_fill on a comparison."""

    def between(s: Any, a: Tensor) -> Any:
        low = a < 0.5
        return torch.where(low, 0.1, a) + a.masked_fill(low, -0.2)

    return _image(between)
