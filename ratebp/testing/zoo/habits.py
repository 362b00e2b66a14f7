"""Habits of people who write models: shared weights, state, questions to layers, control flow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ratebp.neurons import LIF
from ratebp.testing.zoo.base import CLASSES, Net, lif, network, plain, two

Forward = Callable[[Any, Tensor], Any]


@network(5)
def frozen_parameters() -> nn.Module:
    """A synapse that is not trained."""
    net = two(plain)
    net.f1.requires_grad_(False)
    return net


@network(5)
def subclassed_layers() -> nn.Module:
    """Subclasses of nn.Linear and LIF with a forward or an attribute of their own."""

    class Scaled(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return 0.5 * super().forward(input)

    return two(plain, f1=Scaled(6, 6))


@network(5)
def asks_isinstance() -> nn.Module:
    """isinstance(layer, LIF) in the forward."""

    def forward(s: Any, x: Tensor) -> Any:
        for layer in s.layers:
            x = layer(x)
            if isinstance(layer, LIF):
                x = x * 0.5
        return x

    layers = nn.Linear(5, 6), lif(), nn.Linear(6, 6), lif(), nn.Linear(6, CLASSES)
    return Net(forward, layers=nn.ModuleList(layers))


@network(5)
def asks_linear() -> nn.Module:
    """isinstance(layer, nn.Linear) in the forward."""

    def forward(s: Any, x: Tensor) -> Any:
        for layer in s.layers:
            x = layer(x) + (0.2 if isinstance(layer, nn.Linear) else 0.0)
        return x

    layers = nn.Linear(5, 6), lif(), nn.Linear(6, 6), lif(), nn.Linear(6, CLASSES)
    return Net(forward, layers=nn.ModuleList(layers))


@network(2, 5, 5)
def reads_attributes() -> nn.Module:
    """layer.in_features, .num_features and .out_channels in the forward."""

    def forward(s: Any, x: Tensor) -> Any:
        a = s.l0(s.b(s.c(x))) / s.b.num_features
        return s.fc(a.reshape(x.shape[0], s.fc.in_features, -1).sum(-1) / s.c.out_channels)

    return Net(
        forward,
        c=nn.Conv2d(2, 4, 3),
        b=nn.BatchNorm2d(4),
        l0=lif(),
        fc=nn.Linear(4, CLASSES),
    )


@network(5)
def reads_the_neuron() -> nn.Module:
    """self.lif.dynamics.threshold in the forward."""
    return two(lambda s, x: s.f2(s.l1(s.f1(s.l0(s.f0(x)) * s.l0.dynamics.threshold))))


@network(5)
def reads_training() -> nn.Module:
    """self.training and self.layer.training in the forward."""

    def forward(s: Any, x: Tensor) -> Any:
        a = s.l0(s.f0(x)) * (0.5 if s.training else 1.0)
        return s.f2(s.l1(s.f1(a) * (2.0 if s.l0.training else 1.0)))

    return two(forward)


@network(5)
def flag_with_a_default() -> nn.Module:
    """forward(x, doubled=False)."""

    class Flagged(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.f0, self.l0, self.f1 = nn.Linear(5, 6), lif(), nn.Linear(6, CLASSES)

        def forward(self, x: Tensor, doubled: bool = False) -> Tensor:
            x = self.l0(self.f0(x))
            out: Tensor = self.f1(2 * x if doubled else x)
            return out

    return Flagged()


@network(5)
def shape_asserts() -> nn.Module:
    """assert x.shape[1] == 5."""

    def forward(s: Any, x: Tensor) -> Any:
        assert x.shape[1] == 5
        return plain(s, x)

    return two(forward)


@network(5)
def asks_the_dimensions() -> nn.Module:
    """if x.dim() > 2 in the forward."""
    return two(lambda s, x: plain(s, x.flatten(1) if x.dim() > 2 else x))


@network(2, 4, 4, ids=256)
def casts_to_the_weight() -> nn.Module:
    """Frames of integers, cast by x.to(self.conv.weight.dtype) / 255."""

    def forward(s: Any, x: Tensor) -> Any:
        return s.fc(s.l0(s.c(x.to(s.c.weight.dtype) / 64)).flatten(1))

    return Net(forward, c=nn.Conv2d(2, 4, 3), l0=lif(), fc=nn.Linear(16, CLASSES))


@network(5)
def slices_of_a_sequence() -> nn.Module:
    """self.layers[:2](x), then self.layers[2:](x)."""
    layers = nn.Linear(5, 6), lif(), nn.Linear(6, 6), lif(), nn.Linear(6, CLASSES)
    return Net(lambda s, x: s.layers[2:](2 * s.layers[:2](x)), layers=nn.Sequential(*layers))


@network(5)
def function_attribute() -> nn.Module:
    """An activation kept as a function, self.act = torch.tanh."""
    return two(lambda s, x: s.f2(s.l1(s.act(s.f1(s.l0(s.f0(x)))))), act=torch.tanh)


@network(5)
def input_in_place() -> nn.Module:
    """A forward that changes its input in place."""
    return two(lambda s, x: plain(s, x.mul_(0.9).add_(0.1)))


@network(5)
def no_grad_branch() -> nn.Module:
    """A gate that is computed under torch.no_grad()."""

    def forward(s: Any, x: Tensor) -> Any:
        a = s.l0(s.f0(x))
        with torch.no_grad():
            gate = torch.sigmoid(a.sum(-1, keepdim=True) - 2)
        return s.f2(s.l1(s.f1(a) * gate))

    return two(forward)


@network(5)
def constant_buffer() -> nn.Module:
    """A fixed mask in a buffer, a * self.mask."""
    mask = torch.tensor([1.0, 0.0, 1.0, 0.5, 1.0, 2.0])
    return two(lambda s, x: s.f2(s.l1(s.f1(s.l0(s.f0(x)) * s.mask))), mask=mask)


@network(5)
def new_zeros() -> nn.Module:
    """torch.zeros(x.shape[0], ...) joined to the spikes."""

    def forward(s: Any, x: Tensor) -> Any:
        a = s.l0(s.f0(x))
        rest = torch.zeros(x.shape[0], 2, dtype=x.dtype)
        return s.f2(s.l1(s.f1(torch.cat([a[:, :4], rest], 1))))

    return two(forward)


@network(5)
def constant_of_the_batch() -> nn.Module:
    """A current scaled by the batch size, x / len(x)."""
    return two(lambda s, x: s.f2(s.l1(s.f1(s.l0(s.f0(x))) * (4 / x.shape[0]))))


@network(5)
def control_flow_on_values() -> nn.Module:
    """if x.mean() > 0 in the forward."""

    def forward(s: Any, x: Tensor) -> Any:
        c = s.f1(s.l0(s.f0(x)))
        return s.f2(s.l1(c if c.mean() > 0 else -c))

    return two(forward)


@network(5)
def time_inside() -> nn.Module:
    """A forward that loops over time itself."""

    def forward(s: Any, x: Tensor) -> Any:
        return torch.stack([plain(s, x) for _ in range(2)]).mean(0)

    return two(forward)


@network(5)
def unused_layer() -> nn.Module:
    """A layer that the forward never calls."""
    return two(plain, aux=nn.Linear(6, 4))


@network(5)
def dead_branch() -> nn.Module:
    """A branch whose output nobody reads."""

    def forward(s: Any, x: Tensor) -> Any:
        a = s.l0(s.f0(x))
        s.l2(s.aux(a))
        return s.f2(s.l1(s.f1(a)))

    return two(forward, aux=nn.Linear(6, 4), l2=lif())


@network(5)
def detached() -> nn.Module:
    """detach() and torch.no_grad() on a branch."""

    def forward(s: Any, x: Tensor) -> Any:
        a = s.l0(s.f0(x))
        return s.f2(s.l1(s.f1(a) + 0.3 * s.f1(a).detach()))

    return two(forward)


@network(5)
def straight_through() -> nn.Module:
    """A quantised current with the gradient passed straight through."""

    def forward(s: Any, x: Tensor) -> Any:
        c = s.f1(s.l0(s.f0(x)))
        return s.f2(s.l1(c + (torch.round(4 * c) / 4 - c).detach()))

    return two(forward)


@network(5)
def checkpoint_inside() -> nn.Module:
    """torch.utils.checkpoint around a stage."""

    def forward(s: Any, x: Tensor) -> Any:
        return s.f2(checkpoint(s.stage, s.l0(s.f0(x)), use_reentrant=False))

    stage = nn.Sequential(nn.Linear(6, 6), lif(), nn.Linear(6, 6), lif())
    return two(forward, f1=nn.Identity(), l1=nn.Identity(), stage=stage)
