"""Networks that draw random numbers in their forward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ratebp.testing.zoo.base import CLASSES, Net, lif, network


def _with(draw: Callable[[Any, Tensor], Any], **more: Any) -> nn.Module:
    def forward(s: Any, x: Tensor) -> Any:
        return s.f2(s.l1(s.f1(draw(s, s.l0(s.f0(x))))))

    return Net(
        forward,
        f0=nn.Linear(5, 8),
        l0=lif(),
        f1=nn.Linear(8, 6),
        l1=lif(),
        f2=nn.Linear(6, CLASSES),
        **more,
    )


@network(5)
def dropout() -> nn.Module:
    """nn.Dropout behind a neuron and in front of one."""
    return nn.Sequential(
        nn.Linear(5, 8),
        lif(),
        nn.Dropout(0.3),
        nn.Linear(8, 8),
        nn.Dropout(0.2),
        lif(),
        nn.Linear(8, CLASSES),
    )


@network(2, 5, 5)
def dropout_of_channels() -> nn.Module:
    """nn.Dropout2d."""
    return nn.Sequential(
        nn.Conv2d(2, 6, 3),
        lif(),
        nn.Dropout2d(0.3),
        nn.Conv2d(6, 6, 3),
        lif(),
        nn.Flatten(),
        nn.Linear(6, CLASSES),
    )


@network(5)
def functional_dropout() -> nn.Module:
    """F.dropout in the forward."""
    return _with(lambda s, a: F.dropout(a, 0.3, s.training))


@network(5)
def drop_path() -> nn.Module:
    """DropPath: a residual branch dropped a sample at a time."""

    def draw(s: Any, a: Tensor) -> Any:
        keep = a.new_empty(a.shape[0], 1).bernoulli_(0.7) / 0.7
        return a + keep * s.lb(s.branch(a))

    return _with(draw, branch=nn.Linear(8, 8), lb=lif())


@network(5)
def noise() -> nn.Module:
    """torch.rand noise on the currents."""
    return _with(lambda s, a: a + 0.2 * torch.rand(a.shape, dtype=a.dtype))


@network(5)
def noise_like() -> nn.Module:
    """torch.randn_like noise, in training alone."""
    return _with(lambda s, a: a + 0.2 * torch.randn_like(a) if s.training else a)


@network(5)
def random_module() -> nn.Module:
    """nn.AlphaDropout, which is no product with a mask."""
    return _with(lambda s, a: s.drop(a), drop=nn.AlphaDropout(0.3))


@network(5)
def random_rectifier() -> nn.Module:
    """nn.RReLU, an activation with random slopes."""
    return _with(lambda s, a: s.act(a - 0.5), act=nn.RReLU())


@network(5)
def dropout_off() -> nn.Module:
    """Dropouts that are off: p=0 and F.dropout(training=False)."""
    return _with(lambda s, a: F.dropout(s.drop(a), 0.5, False), drop=nn.Dropout(0.0))
