"""Sums of currents and spikes: residual blocks, in place, with themselves, broadcast."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from ratebp.testing.zoo.base import CLASSES, Net, lif, network


def _stage(**more: nn.Module) -> dict[str, nn.Module]:
    return {
        "stem": nn.Conv2d(2, 4, 3, padding=1),
        "c1": nn.Conv2d(4, 4, 3, padding=1, bias=False),
        "b1": nn.BatchNorm2d(4),
        "c2": nn.Conv2d(4, 4, 3, padding=1, bias=False),
        "b2": nn.BatchNorm2d(4),
        "l0": lif(),
        "l1": lif(),
        "l2": lif(),
        "fc": nn.Linear(4, CLASSES),
        **more,
    }


@network(2, 5, 5)
def residual() -> nn.Module:
    """A residual block: the sum of currents goes through the neuron."""

    def forward(s: Any, x: Tensor) -> Any:
        a = s.l0(s.stem(x))
        b = s.b2(s.c2(s.l1(s.b1(s.c1(a)))))
        return s.fc(s.l2(a + b).mean((2, 3)))

    return Net(forward, **_stage())


@network(2, 5, 5)
def pre_activation_residual() -> nn.Module:
    """A pre-activation block (MS-ResNet): currents are added, neurons come first."""

    def forward(s: Any, x: Tensor) -> Any:
        a = s.stem(x)
        b = a + s.b2(s.c2(s.l1(s.b1(s.c1(s.l0(a))))))
        return s.fc(s.l2(b).mean((2, 3)))

    return Net(forward, **_stage())


@network(2, 5, 5)
def sew_add() -> nn.Module:
    """A SEW block: spikes are added to spikes."""

    def forward(s: Any, x: Tensor) -> Any:
        a = s.l0(s.stem(x))
        b = a + s.l2(s.b2(s.c2(s.l1(s.b1(s.c1(a))))))
        return s.fc(b.mean((2, 3)))

    return Net(forward, **_stage())


@network(2, 5, 5)
def sum_in_place() -> nn.Module:
    """A residual whose sum is written in place (+=)."""

    def forward(s: Any, x: Tensor) -> Any:
        a = s.l0(s.stem(x))
        b = s.b2(s.c2(s.l1(s.b1(s.c1(a)))))
        b += a
        return s.fc(s.l2(b).mean((2, 3)))

    return Net(forward, **_stage())


@network(2, 5, 5)
def sum_in_place_on_spikes() -> nn.Module:
    """A SEW block whose sum is written into the spikes of the first neuron."""

    def forward(s: Any, x: Tensor) -> Any:
        a = s.l0(s.stem(x))
        a += s.l2(s.b2(s.c2(s.l1(s.b1(s.c1(a.clone()))))))
        return s.fc(a.mean((2, 3)))

    return Net(forward, **_stage())


@network(2, 5, 5)
def doubled_norm() -> nn.Module:
    """A norm's output added to itself through nn.Identity."""

    def forward(s: Any, x: Tensor) -> Any:
        a = s.b1(s.c1(s.l0(s.stem(x))))
        return s.fc(s.l1(a + s.branch(a)).mean((2, 3)))

    layers = _stage(branch=nn.Identity())
    return Net(forward, **{n: v for n, v in layers.items() if n not in ("c2", "b2", "l2")})


@network(2, 5, 5)
def doubled_spikes() -> nn.Module:
    """Spikes added to themselves."""

    def forward(s: Any, x: Tensor) -> Any:
        a = s.l0(s.stem(x))
        return s.fc(s.l1(s.c1(a + a)).mean((2, 3)))

    layers = _stage()
    return Net(forward, **{n: layers[n] for n in ("stem", "l0", "c1", "l1", "fc")})


def _broadcast(small_first: bool, spikes: bool) -> nn.Module:
    def forward(s: Any, x: Tensor) -> Any:
        a = s.l0(s.stem(x))
        big = s.b1(s.c1(a))
        small = s.lg(s.bg(s.g(F.adaptive_avg_pool2d(a, 1))))
        return s.fc(s.l1(small + big if small_first else big + small).mean((2, 3)))

    return Net(
        forward,
        stem=nn.Conv2d(2, 4, 3, padding=1),
        l0=lif(),
        c1=nn.Conv2d(4, 4, 3, padding=1),
        b1=nn.BatchNorm2d(4),
        g=nn.Conv2d(4, 4, 1),
        bg=nn.BatchNorm2d(4),
        lg=lif() if spikes else nn.Identity(),
        l1=lif(),
        fc=nn.Linear(4, CLASSES),
    )


@network(2, 5, 5)
def broadcast_norm_small_first() -> nn.Module:
    """A pooled, normalised branch plus a map, the small term first."""
    return _broadcast(small_first=True, spikes=False)


@network(2, 5, 5)
def broadcast_norm_big_first() -> nn.Module:
    """A map plus a pooled, normalised branch, the big term first."""
    return _broadcast(small_first=False, spikes=False)


@network(2, 5, 5)
def broadcast_spikes_small_first() -> nn.Module:
    """A pooled branch of spikes plus a map, the small term first."""
    return _broadcast(small_first=True, spikes=True)


@network(2, 5, 5)
def broadcast_spikes_big_first() -> nn.Module:
    """A map plus a pooled branch of spikes, the big term first."""
    return _broadcast(small_first=False, spikes=True)
