"""Operations between the leaves: pools, shapes, indexing, scalars, activations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ratebp.testing.zoo.base import CLASSES, Net, lif, network

Forward = Callable[[Any, Tensor], Tensor]


def _image(between: Forward, width: int = 4, **more: Any) -> nn.Module:
    """Put `between` on the map of spikes ``[B, 4, 6, 6]`` of a stem, in front of a second layer."""

    def forward(s: Any, x: Tensor) -> Tensor:
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


def _features(
    on_spikes: Forward | None = None, on_current: Forward | None = None, width: int = 8, **more: Any
) -> nn.Module:
    """Put operations on the spikes ``[B, 8]`` of a first layer, or on the current behind it."""

    def forward(s: Any, x: Tensor) -> Tensor:
        a = s.l0(s.f0(x))
        c = s.f1(a if on_spikes is None else on_spikes(s, a))
        return s.f2(s.l1(c if on_current is None else on_current(s, c)))

    return Net(
        forward,
        f0=nn.Linear(5, 8),
        l0=lif(),
        f1=nn.Linear(width, 6),
        l1=lif(),
        f2=nn.Linear(6, CLASSES),
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
    return _image(
        lambda s, a: s.up(F.pixel_unshuffle(a, 2)), up=nn.PixelShuffle(2)
    )


@network(2, 6, 6)
def reshape_permute() -> nn.Module:
    """Reshape, view and permute with sizes read off the tensor."""

    def between(s: Any, a: Tensor) -> Tensor:
        b, c, h, w = a.shape
        a = a.reshape(b, c, h * w).permute(0, 2, 1).contiguous()
        return a.transpose(1, 2).view(b, c, h, w)

    return _image(between)


@network(2, 6, 6)
def patch_embedding() -> nn.Module:
    """Patches as tokens: a strided convolution, flatten(2).transpose(1, 2)."""

    def forward(s: Any, x: Tensor) -> Tensor:
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

    def between(s: Any, a: Tensor) -> Tensor:
        return s.up(F.interpolate(a, size=(3, 3), mode="nearest"))

    return _image(between, up=nn.Upsample(scale_factor=2, mode="bilinear"))


@network(2, 6, 6)
def channel_shuffle() -> nn.Module:
    """Channel shuffle of grouped convolutions."""
    return _image(
        lambda s, a: a.unflatten(1, (2, 2)).transpose(1, 2).flatten(1, 2)
    )


@network(2, 6, 6)
def crop_and_stack() -> nn.Module:
    """torch.stack, unbind, roll and flip over space."""

    def between(s: Any, a: Tensor) -> Tensor:
        both = torch.stack([a.roll(1, dims=-1), a.flip(-1)], dim=1)
        first, second = both.unbind(1)
        return first + second

    return _image(between)


@network(5)
def chunk() -> nn.Module:
    """chunk and split of spikes."""

    def cut(s: Any, a: Tensor) -> Tensor:
        left, right = a.chunk(2, dim=-1)
        first, rest = right.split([1, 3], dim=-1)
        return left + torch.cat([rest, first], -1)

    return _features(cut, width=4)


@network(5)
def chunked_currents() -> nn.Module:
    """One synapse whose output is cut into two currents, each with a neuron."""

    def forward(s: Any, x: Tensor) -> Tensor:
        a, b = s.qk(s.l0(s.f0(x))).chunk(2, -1)
        return s.f2(s.la(a) + s.lb(b))

    return Net(
        forward,
        f0=nn.Linear(5, 8),
        l0=lif(),
        qk=nn.Linear(8, 12),
        la=lif(),
        lb=lif(),
        f2=nn.Linear(6, CLASSES),
    )


@network(5)
def glu() -> nn.Module:
    """A gated linear unit of currents."""
    return _features(on_current=lambda s, c: F.glu(s.wide(c), -1), wide=nn.Linear(6, 12))


@network(5)
def gate_of_spikes() -> nn.Module:
    """Spikes multiplied by the spikes of another layer."""
    return _features(lambda s, a: a * s.lg(s.g(a)), g=nn.Linear(8, 8), lg=lif())


@network(2, 6, 6)
def squeeze_and_excitation() -> nn.Module:
    """An SE gate: spikes times the sigmoid of a small network of their mean."""

    def between(s: Any, a: Tensor) -> Tensor:
        gate = torch.sigmoid(s.g2(torch.relu(s.g1(a.mean((2, 3))))))
        return a * gate[:, :, None, None]

    return _image(between, g1=nn.Linear(4, 3), g2=nn.Linear(3, 4))


@network(5)
def scalars() -> nn.Module:
    """Constants: x * 0.5, x + 0.1, x / 2, 1 - x, -x."""
    return _features(lambda s, a: 1 - a * 0.5, lambda s, c: -((c + 0.1) / -2 - 0.2))


@network(5)
def scaled_in_place() -> nn.Module:
    """A current that is changed in place: mul_, add_, relu_."""
    return _features(on_current=lambda s, c: c.mul_(1.5).add_(0.1))


@network(5)
def clamp() -> nn.Module:
    """clamp of a current, abs and maximum."""
    return _features(on_current=lambda s, c: torch.maximum(c.clamp(-1, 1), 0.1 * c.abs()))


@network(5)
def activations() -> nn.Module:
    """PReLU, ReLU, GELU, SiLU and tanh between leaves."""

    def on_current(s: Any, c: Tensor) -> Tensor:
        return F.gelu(s.prelu(c)) + torch.tanh(F.silu(c)) + s.relu(c)

    return _features(on_current=on_current, prelu=nn.PReLU(), relu=nn.ReLU())


@network(5)
def two_synapses_without_a_neuron() -> nn.Module:
    """Two synapses with a ReLU between them and no neuron."""
    return _features(on_current=lambda s, c: s.more(torch.relu(c)), more=nn.Linear(6, 6))


@network(5)
def bilinear() -> nn.Module:
    """nn.Bilinear, a layer with weights that is no synapse."""
    return _features(on_current=lambda s, c: s.pair(c, c), pair=nn.Bilinear(6, 6, 6))


@network(5)
def own_parameter() -> nn.Module:
    """A parameter of the model itself: a learned scale and a learned position."""
    return _features(
        lambda s, a: a * s.scale + s.place,
        scale=nn.Parameter(torch.ones(8)),
        place=nn.Parameter(torch.full((8,), 0.1)),
    )


@network(5)
def matmul_with_parameter() -> nn.Module:
    """A matrix of the model itself, x @ self.w."""
    return _features(
        on_current=lambda s, c: c @ s.w, w=nn.Parameter(0.2 * torch.randn(6, 6))
    )


@network(5)
def features_sorted() -> nn.Module:
    """sort and topk over features."""

    def on_current(s: Any, c: Tensor) -> Tensor:
        return c.sort(dim=-1).values + c * (c >= c.topk(3, dim=-1).values[:, -1:])

    return _features(on_current=on_current)


@network(5)
def softmax_between() -> nn.Module:
    """A softmax and a cumulative sum over features."""
    return _features(on_current=lambda s, c: 3 * c.softmax(-1) + c.cumsum(-1))


@network(5)
def dividing() -> nn.Module:
    """A current divided by its own norm, and a power."""
    return _features(
        on_current=lambda s, c: c / (c.norm(dim=-1, keepdim=True) + 0.1) + 0.1 * c**2
    )


@network(4, ids=9)
def embedding() -> nn.Module:
    """Token ids into nn.Embedding."""

    def forward(s: Any, x: Tensor) -> Tensor:
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
