"""Ordinary code by which a figure was once wrong without a word."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ratebp.testing.zoo.base import BATCH, CLASSES, Net, lif, network, plain, two

_SEEN: list[int] = []


@network(5)
def sizes_of_spikes() -> nn.Module:
    """Currents scaled by the number of features of spikes, a.shape[-1]."""

    def forward(s: Any, x: Tensor) -> Any:
        a = s.l0(s.f0(x))
        return s.f2(s.l1(s.f1(a) * (a.shape[-1] / 4)))

    return two(forward)


@network(5)
def types_of_spikes() -> nn.Module:
    """Currents scaled by the bytes of a spike, a.dtype.itemsize."""

    def forward(s: Any, x: Tensor) -> Any:
        a = s.l0(s.f0(x))
        return s.f2(s.l1(s.f1(a) * (a.dtype.itemsize / 6)))

    return two(forward)


@network(5, constant=True)
def samples_of_a_constant_input() -> nn.Module:
    """The batch size of a constant input, used behind the neurons: reshape(b, -1)."""

    def forward(s: Any, x: Tensor) -> Any:
        b = x.shape[0]
        return s.f2(s.l1(s.f1(s.l0(s.f0(x)).reshape(b, -1))))

    return two(forward)


@network(5, constant=True)
def position_beside_a_constant_input() -> nn.Module:
    """An offset expanded to the batch of a constant input, added behind a neuron."""

    def forward(s: Any, x: Tensor) -> Any:
        offset = s.offset.expand(x.shape[0], -1)
        return s.f2(s.l1(s.f1(s.l0(s.f0(x)) + offset)))

    return two(forward, offset=torch.linspace(-0.5, 0.5, 6, dtype=torch.float64))


@network(5)
def relu_behind_the_readout() -> nn.Module:
    """An activation of the output."""
    return two(lambda s, x: plain(s, x).relu())


@network(5)
def product_behind_the_readout() -> nn.Module:
    """The output multiplied by that of a head on the input."""
    return two(lambda s, x: plain(s, x) * s.beside(x), beside=nn.Linear(5, CLASSES))


@network(5)
def layer_called_by_name() -> nn.Module:
    """self.fc(input=x)."""
    return two(lambda s, x: s.f2(s.l1(s.f1(input=s.l0(s.f0(x))))))


@network(2, 4, 4)
def layer_called_with_a_size() -> nn.Module:
    """A transposed convolution called with output_size."""

    def forward(s: Any, x: Tensor) -> Any:
        a = s.l0(s.c0(x))
        return s.head(s.l1(s.up(a, output_size=(8, 8))).mean((2, 3)))

    return Net(
        forward,
        c0=nn.Conv2d(2, 4, 3, 1, 1),
        l0=lif(),
        up=nn.ConvTranspose2d(4, 4, 3, 2, 1),
        l1=lif(),
        head=nn.Linear(4, CLASSES),
    )


@network(5)
def subclass_that_mixes() -> nn.Module:
    """A subclass of nn.Linear that takes the mean of the batch away."""

    class Centred(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input - input.mean(0))

    return two(plain, f1=Centred(6, 6))


@network(5)
def subclass_that_writes() -> nn.Module:
    """A subclass of nn.Linear that changes its input."""

    class Halving(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input.mul_(0.5))

    return two(plain, f1=Halving(6, 6))


@network(5)
def forward_replaced() -> nn.Module:
    """layer.forward = another function."""
    layer: Any = nn.Linear(6, 6)
    layer.forward = lambda x: 0.5 * torch.nn.functional.linear(x, layer.weight)
    return two(plain, f1=layer)


@network(5)
def counter_around_the_forward() -> nn.Module:
    """A global list that grows at every call."""

    def forward(s: Any, x: Tensor) -> Any:
        _SEEN.append(1)
        return plain(s, x * (1 + len(_SEEN) % 2))

    return two(forward)


@network(5)
def alias_in_place() -> nn.Module:
    """Spikes changed through an Identity of them."""

    def forward(s: Any, x: Tensor) -> Any:
        a = s.l0(s.f0(x))
        b = s.same(a)
        b += 0.5
        return s.f2(s.l1(s.f1(a) + b))

    return two(forward, same=nn.Identity())


@network(5)
def memory_assigned() -> nn.Module:
    """b.data = another tensor."""

    def forward(s: Any, x: Tensor) -> Any:
        a = s.l0(s.f0(x))
        b = a.clone()
        b.data = 2 * a.data
        return s.f2(s.l1(s.f1(b)))

    return two(forward)


@network(5)
def tensor_of_spikes() -> nn.Module:
    """torch.as_tensor(spikes)."""
    return two(lambda s, x: s.f2(s.l1(s.f1(torch.as_tensor(s.l0(s.f0(x)))))))


@network(5)
def numbers_of_samples_joined() -> nn.Module:
    """The number of each sample beside its features."""

    def forward(s: Any, x: Tensor) -> Any:
        number = torch.arange(len(x), dtype=x.dtype).unsqueeze(1)
        return s.f2(s.l1(s.joined(torch.cat([s.l0(s.f0(x)), number], 1))))

    return two(forward, joined=nn.Linear(7, 6))


@network(5)
def branch_on_the_batch() -> nn.Module:
    """if len(x) > B."""
    return two(lambda s, x: plain(s, 2 * x if len(x) > BATCH else x))


@network(6, 5)
def convolution_without_samples() -> nn.Module:
    """A convolution that takes the samples for channels."""
    return Net(
        lambda s, x: s.head(s.l0(s.conv(x.mean(1)))),
        conv=nn.Conv1d(BATCH, BATCH, 3, 1, 1),
        l0=lif(),
        head=nn.Linear(5, CLASSES),
    )
