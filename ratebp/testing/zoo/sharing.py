"""Weights that are shared, read, tied or made of other tensors."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from ratebp.testing.zoo.base import lif, network, plain, two


@network(5)
def tied_weights() -> nn.Module:
    """Two layers that share one weight parameter."""
    first, second = nn.Linear(6, 6), nn.Linear(6, 6)
    second.weight = first.weight
    layers = {"f1": first, "f3": second, "l2": lif()}
    return two(lambda s, x: s.f2(s.l2(s.f3(s.l1(s.f1(s.l0(s.f0(x))))))), **layers)


@network(5)
def shared_synapse() -> nn.Module:
    """One synapse called at two depths."""
    return two(lambda s, x: s.f2(s.l2(s.f1(s.l1(s.f1(s.l0(s.f0(x))))))), l2=lif())


@network(5)
def synapse_twice_in_a_row() -> nn.Module:
    """One synapse called twice with nothing between."""
    return two(lambda s, x: s.f2(s.l1(s.f1(s.f1(s.l0(s.f0(x)))))))


@network(5)
def shared_block() -> nn.Module:
    """One synapse on two branches that are added."""

    def forward(s: Any, x: Tensor) -> Any:
        a = s.l0(s.f0(x))
        return s.f2(s.l1(s.f1(a) + 0.5 * s.f1(1 - a)))

    return two(forward)


@network(5)
def tied_head() -> nn.Module:
    """A head that uses the first layer's weight, F.linear(x, self.f1.weight)."""
    return two(lambda s, x: s.f2(F.linear(s.l1(s.f1(s.l0(s.f0(x)))), s.f1.weight)))


@network(5)
def weight_read_not_called() -> nn.Module:
    """A layer whose weight is read and that is never called."""

    def forward(s: Any, x: Tensor) -> Any:
        return s.f2(s.l1(F.linear(s.l0(s.f0(x)), s.f1.weight, s.f1.bias)))

    return two(forward)


@network(5)
def weight_penalty_in_forward() -> nn.Module:
    """A forward that scales by a norm of a layer's weight."""
    return two(lambda s, x: s.f2(s.l1(s.f1(s.l0(s.f0(x))) / s.f1.weight.norm())))


@network(5)
def parametrized() -> nn.Module:
    """torch.nn.utils.parametrizations.weight_norm on a synapse."""
    return two(plain, f1=parametrizations.weight_norm(nn.Linear(6, 6)))


@network(5)
def spectral_norm() -> nn.Module:
    """torch.nn.utils.parametrizations.spectral_norm, whose buffers move at every call."""
    return two(plain, f1=parametrizations.spectral_norm(nn.Linear(6, 6)))
