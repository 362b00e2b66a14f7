"""Habits of people who write models: shared weights, state, questions to layers, control flow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from ratebp.neurons import LIF
from ratebp.testing.zoo.base import CLASSES, Net, lif, network

Forward = Callable[[Any, Tensor], Tensor]


def _two(forward: Forward, **more: Any) -> nn.Module:
    layers = {
        "f0": nn.Linear(5, 6),
        "l0": lif(),
        "f1": nn.Linear(6, 6),
        "l1": lif(),
        "f2": nn.Linear(6, CLASSES),
    }
    return Net(forward, **{**layers, **more})


def _plain(s: Any, x: Tensor) -> Tensor:
    out: Tensor = s.f2(s.l1(s.f1(s.l0(s.f0(x)))))
    return out


@network(5)
def tied_weights() -> nn.Module:
    """Two layers that share one weight parameter."""
    net = _two(lambda s, x: s.f2(s.l2(s.f3(s.l1(s.f1(s.l0(s.f0(x))))))), f3=nn.Linear(6, 6), l2=lif())
    net.f3.weight = net.f1.weight
    return net


@network(5)
def shared_synapse() -> nn.Module:
    """One synapse called at two depths."""
    return _two(lambda s, x: s.f2(s.l2(s.f1(s.l1(s.f1(s.l0(s.f0(x))))))), l2=lif())


@network(5)
def synapse_twice_in_a_row() -> nn.Module:
    """One synapse called twice with nothing between."""
    return _two(lambda s, x: s.f2(s.l1(s.f1(s.f1(s.l0(s.f0(x)))))))


@network(5)
def shared_block() -> nn.Module:
    """One synapse on two branches that are added."""

    def forward(s: Any, x: Tensor) -> Tensor:
        a = s.l0(s.f0(x))
        return s.f2(s.l1(s.f1(a) + 0.5 * s.f1(1 - a)))

    return _two(forward)


@network(5)
def tied_head() -> nn.Module:
    """A head that uses the first layer's weight, F.linear(x, self.f1.weight)."""
    return _two(lambda s, x: s.f2(F.linear(s.l1(s.f1(s.l0(s.f0(x)))), s.f1.weight)))


@network(5)
def weight_read_not_called() -> nn.Module:
    """A layer whose weight is read and that is never called."""

    def forward(s: Any, x: Tensor) -> Tensor:
        return s.f2(s.l1(F.linear(s.l0(s.f0(x)), s.f1.weight, s.f1.bias)))

    return _two(forward)


@network(5)
def weight_penalty_in_forward() -> nn.Module:
    """A forward that scales by a norm of a layer's weight."""
    return _two(lambda s, x: s.f2(s.l1(s.f1(s.l0(s.f0(x))) / s.f1.weight.norm())))


@network(5)
def parametrized() -> nn.Module:
    """torch.nn.utils.parametrizations.weight_norm on a synapse."""
    return _two(_plain, f1=parametrizations.weight_norm(nn.Linear(6, 6)))


@network(5)
def frozen_parameters() -> nn.Module:
    """A synapse that is not trained."""
    net = _two(_plain)
    net.f1.requires_grad_(False)
    return net


@network(5)
def subclassed_layers() -> nn.Module:
    """Subclasses of nn.Linear and LIF with a forward or an attribute of their own."""

    class Scaled(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return 0.5 * super().forward(input)

    return _two(_plain, f1=Scaled(6, 6))


@network(5)
def asks_isinstance() -> nn.Module:
    """isinstance(layer, LIF) in the forward."""

    def forward(s: Any, x: Tensor) -> Tensor:
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

    def forward(s: Any, x: Tensor) -> Tensor:
        for layer in s.layers:
            x = layer(x) + (0.2 if isinstance(layer, nn.Linear) else 0.0)
        return x

    layers = nn.Linear(5, 6), lif(), nn.Linear(6, 6), lif(), nn.Linear(6, CLASSES)
    return Net(forward, layers=nn.ModuleList(layers))


@network(2, 5, 5)
def reads_attributes() -> nn.Module:
    """layer.in_features, .num_features and .out_channels in the forward."""

    def forward(s: Any, x: Tensor) -> Tensor:
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
    return _two(lambda s, x: s.f2(s.l1(s.f1(s.l0(s.f0(x)) * s.l0.dynamics.threshold))))


@network(5)
def reads_training() -> nn.Module:
    """self.training and self.layer.training in the forward."""

    def forward(s: Any, x: Tensor) -> Tensor:
        a = s.l0(s.f0(x)) * (0.5 if s.training else 1.0)
        return s.f2(s.l1(s.f1(a) * (2.0 if s.l0.training else 1.0)))

    return _two(forward)


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
    """assert x.shape[1] == 5, and x.dim() branches."""

    def forward(s: Any, x: Tensor) -> Tensor:
        assert x.shape[1] == 5
        x = x.flatten(1) if x.dim() > 2 else x
        return _plain(s, x)

    return _two(forward)


@network(5)
def new_zeros() -> nn.Module:
    """torch.zeros(x.shape[0], ...) joined to the spikes."""

    def forward(s: Any, x: Tensor) -> Tensor:
        a = s.l0(s.f0(x))
        rest = torch.zeros(x.shape[0], 2, dtype=x.dtype)
        return s.f2(s.l1(s.f1(torch.cat([a[:, :4], rest], 1))))

    return _two(forward)


@network(5)
def constant_of_the_batch() -> nn.Module:
    """A current scaled by the batch size, x / len(x)."""
    return _two(lambda s, x: s.f2(s.l1(s.f1(s.l0(s.f0(x))) * (4 / x.shape[0]))))


@network(5)
def control_flow_on_values() -> nn.Module:
    """if x.mean() > 0 in the forward."""

    def forward(s: Any, x: Tensor) -> Tensor:
        c = s.f1(s.l0(s.f0(x)))
        return s.f2(s.l1(c if c.mean() > 0 else -c))

    return _two(forward)


@network(5)
def time_inside() -> nn.Module:
    """A forward that loops over time itself."""

    def forward(s: Any, x: Tensor) -> Tensor:
        return torch.stack([_plain(s, x) for _ in range(2)]).mean(0)

    return _two(forward)


@network(5)
def state_on_the_module() -> nn.Module:
    """A forward that keeps a value on the module: self.v = 0.9 * self.v + ...."""

    def forward(s: Any, x: Tensor) -> Tensor:
        s.v = 0.5 * s.v + _plain(s, x)
        return s.v

    return _two(forward, v=0.0)


@network(5)
def counter_on_the_module() -> nn.Module:
    """A forward that counts its calls in a plain attribute."""

    def forward(s: Any, x: Tensor) -> Tensor:
        s.calls = s.calls + 1
        return _plain(s, x) * s.calls

    return _two(forward, calls=0)


@network(5)
def buffer_in_forward() -> nn.Module:
    """A forward that updates a buffer of its own, a running rate that nobody reads."""

    def forward(s: Any, x: Tensor) -> Tensor:
        a = s.l0(s.f0(x))
        with torch.no_grad():
            s.rate.mul_(0.9).add_(0.1 * a.mean(0))
        return s.f2(s.l1(s.f1(a)))

    return _two(forward, rate=torch.zeros(6))


@network(5)
def buffer_read_in_forward() -> nn.Module:
    """A forward that scales by a running rate which it has just moved."""

    def forward(s: Any, x: Tensor) -> Tensor:
        a = s.l0(s.f0(x))
        s.rate = 0.9 * s.rate + 0.1 * a.detach().mean(0)
        return s.f2(s.l1(s.f1(a / (0.5 + s.rate))))

    return _two(forward, rate=torch.zeros(6))


@network(5)
def unused_layer() -> nn.Module:
    """A layer that the forward never calls."""
    return _two(_plain, aux=nn.Linear(6, 4))


@network(5)
def dead_branch() -> nn.Module:
    """A branch whose output nobody reads."""

    def forward(s: Any, x: Tensor) -> Tensor:
        a = s.l0(s.f0(x))
        s.l2(s.aux(a))
        return s.f2(s.l1(s.f1(a)))

    return _two(forward, aux=nn.Linear(6, 4), l2=lif())


@network(5)
def detached() -> nn.Module:
    """detach() and torch.no_grad() on a branch."""

    def forward(s: Any, x: Tensor) -> Tensor:
        a = s.l0(s.f0(x))
        return s.f2(s.l1(s.f1(a) + 0.3 * s.f1(a).detach()))

    return _two(forward)


@network(5)
def straight_through() -> nn.Module:
    """A quantised current with the gradient passed straight through."""

    def forward(s: Any, x: Tensor) -> Tensor:
        c = s.f1(s.l0(s.f0(x)))
        return s.f2(s.l1(c + (torch.round(4 * c) / 4 - c).detach()))

    return _two(forward)


@network(5)
def checkpoint_inside() -> nn.Module:
    """torch.utils.checkpoint around a stage."""

    def forward(s: Any, x: Tensor) -> Tensor:
        return s.f2(checkpoint(s.stage, s.l0(s.f0(x)), use_reentrant=False))

    stage = nn.Sequential(nn.Linear(6, 6), lif(), nn.Linear(6, 6), lif())
    return _two(forward, f1=nn.Identity(), l1=nn.Identity(), stage=stage)


def _batch(mix: Callable[[Tensor], Tensor]) -> nn.Module:
    return _two(lambda s, x: s.f2(s.l1(mix(s.f1(s.l0(s.f0(x)))))))


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

    def forward(s: Any, x: Tensor) -> Tensor:
        a = s.l0(s.f0(torch.cat([x, -x])))
        first, second = s.l1(s.f1(a)).chunk(2)
        return s.f2(first + second)

    return _two(forward)
