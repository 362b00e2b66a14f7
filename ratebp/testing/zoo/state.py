"""Forwards that keep something on the module from call to call."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ratebp.testing.zoo.base import network, plain, two


@network(5)
def state_on_the_module() -> nn.Module:
    """A forward that keeps a value on the module: self.v = 0.9 * self.v + ...."""

    def forward(s: Any, x: Tensor) -> Any:
        s.v = 0.5 * s.v + plain(s, x)
        return s.v

    return two(forward, v=0.0)


@network(5)
def counter_on_the_module() -> nn.Module:
    """A forward that counts its calls in a plain attribute."""

    def forward(s: Any, x: Tensor) -> Any:
        s.calls = s.calls + 1
        return plain(s, x) * s.calls

    return two(forward, calls=0)


@network(5)
def buffer_in_forward() -> nn.Module:
    """A forward that updates a buffer of its own, a running rate that nobody reads."""

    def forward(s: Any, x: Tensor) -> Any:
        a = s.l0(s.f0(x))
        with torch.no_grad():
            s.rate.mul_(0.9).add_(0.1 * a.mean(0))
        return s.f2(s.l1(s.f1(a)))

    return two(forward, rate=torch.zeros(6))


@network(5)
def buffer_read_in_forward() -> nn.Module:
    """A forward that scales by a running rate which it has just moved."""

    def forward(s: Any, x: Tensor) -> Any:
        a = s.l0(s.f0(x))
        s.rate = 0.9 * s.rate + 0.1 * a.detach().mean(0)
        return s.f2(s.l1(s.f1(a / (0.5 + s.rate))))

    return two(forward, rate=torch.zeros(6))
