"""Operations on features: chunked, gated, scaled, activated, sorted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ratebp.testing.zoo.base import CLASSES, Net, lif, network

Forward = Callable[[Any, Tensor], Any]


def _features(
    on_spikes: Forward | None = None, on_current: Forward | None = None, width: int = 8, **more: Any
) -> nn.Module:
    """Put operations on the spikes ``[B, 8]`` of a first layer, or on the current behind it."""

    def forward(s: Any, x: Tensor) -> Any:
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


@network(5)
def chunk() -> nn.Module:
    """chunk and split of spikes."""

    def chunked(s: Any, a: Tensor) -> Any:
        left, right = a.chunk(2, dim=-1)
        first, rest = right.split([1, 3], dim=-1)
        return left + torch.cat([rest, first], -1)

    return _features(chunked, width=4)


@network(5)
def chunked_currents() -> nn.Module:
    """One synapse whose output is cut into two currents, each with a neuron."""

    def forward(s: Any, x: Tensor) -> Any:
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

    def on_current(s: Any, c: Tensor) -> Any:
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
    return _features(on_current=lambda s, c: c @ s.w, w=nn.Parameter(0.2 * torch.randn(6, 6)))


@network(5)
def features_sorted() -> nn.Module:
    """sort and topk over features."""

    def on_current(s: Any, c: Tensor) -> Any:
        return c.sort(dim=-1).values + c * (c >= c.topk(3, dim=-1).values[:, -1:])

    return _features(on_current=on_current)


@network(5)
def softmax_between() -> nn.Module:
    """A softmax and a cumulative sum over features."""
    return _features(on_current=lambda s, c: 3 * c.softmax(-1) + c.cumsum(-1))


@network(5)
def dividing() -> nn.Module:
    """A current divided by its own norm, and a power."""
    return _features(on_current=lambda s, c: c / (c.norm(dim=-1, keepdim=True) + 0.1) + 0.1 * c**2)
