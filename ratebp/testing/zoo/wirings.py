"""How layers are wired: chains, residuals, dense and U-shaped nets, feedback, shared weights."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from ratebp.testing.zoo.base import CLASSES, Net, lif, network


@network(5)
def mlp() -> nn.Module:
    """Linear layers in a chain."""
    layers = nn.Linear(5, 7), lif(), nn.Linear(7, 6), lif(), nn.Linear(6, CLASSES)
    return nn.Sequential(*layers)


@network(5, constant=True)
def mlp_constant_input() -> nn.Module:
    """A chain on a constant input, direct coding's expanded view."""
    return mlp()


@network(5, asks=True)
def mlp_input_gradient() -> nn.Module:
    """A chain whose input asks for its gradient."""
    return mlp()


@network(2, 6, 6)
def conv_chain() -> nn.Module:
    """Convolution, batch norm, neuron, twice."""
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        lif(),
        nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(6),
        lif(),
        nn.Flatten(),
        nn.Linear(54, CLASSES),
    )


@network(2, 6, 6, constant=True)
def conv_chain_constant_input() -> nn.Module:
    """Convolution, batch norm, neuron on a constant input."""
    return conv_chain()


@network(3, 6, 6)
def ends_in_a_neuron() -> nn.Module:
    """A net that ends in spikes, voted by groups of outputs."""

    def forward(s: Any, x: Tensor) -> Any:
        return s.l1(s.fc(s.l0(s.c(x)).flatten(1))).unflatten(1, (CLASSES, 4)).mean(2)

    return Net(forward, c=nn.Conv2d(3, 4, 3, 2), l0=lif(), fc=nn.Linear(16, 4 * CLASSES), l1=lif())


@network(2, 5, 5)
def dense_cat() -> nn.Module:
    """DenseNet: each layer reads the concatenation of all before."""

    def forward(s: Any, x: Tensor) -> Any:
        a = s.l0(s.b0(s.c0(x)))
        b = torch.cat([a, s.l1(s.b1(s.c1(a)))], 1)
        c = torch.cat((b, s.l2(s.b2(s.c2(b)))), dim=1)
        return s.fc(c.mean((2, 3)))

    return Net(
        forward,
        c0=nn.Conv2d(2, 4, 3, padding=1),
        b0=nn.BatchNorm2d(4),
        l0=lif(),
        c1=nn.Conv2d(4, 3, 3, padding=1),
        b1=nn.BatchNorm2d(3),
        l1=lif(),
        c2=nn.Conv2d(7, 3, 3, padding=1),
        b2=nn.BatchNorm2d(3),
        l2=lif(),
        fc=nn.Linear(10, CLASSES),
    )


@network(2, 6, 6, dense=(6, 6))
def u_net() -> nn.Module:
    """A U-Net: down, a transposed convolution up, a skip by concatenation, a class a pixel."""

    def forward(s: Any, x: Tensor) -> Any:
        a = s.l0(s.c0(x))
        b = s.l1(s.down(a))
        return s.out(torch.cat([s.l2(s.up(b)), a], 1))

    return Net(
        forward,
        c0=nn.Conv2d(2, 4, 3, padding=1),
        l0=lif(),
        down=nn.Conv2d(4, 6, 2, stride=2),
        l1=lif(),
        up=nn.ConvTranspose2d(6, 4, 2, stride=2),
        l2=lif(),
        out=nn.Conv2d(8, CLASSES, 1),
    )


@network(2, 5, 5)
def depthwise() -> nn.Module:
    """Depthwise and pointwise convolutions with nothing between them."""
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        lif(),
        nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False),
        nn.Conv2d(4, 6, 1, bias=False),
        nn.BatchNorm2d(6),
        lif(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, CLASSES),
    )


@network(2, 12)
def audio() -> nn.Module:
    """One-dimensional convolutions."""
    return nn.Sequential(
        nn.Conv1d(2, 4, 3, padding=1),
        nn.BatchNorm1d(4),
        lif(),
        nn.Conv1d(4, 6, 3, stride=2, dilation=2),
        lif(),
        nn.Flatten(),
        nn.Linear(24, CLASSES),
    )


@network(2, 3, 5, 5)
def video() -> nn.Module:
    """Three-dimensional convolutions."""
    return nn.Sequential(
        nn.Conv3d(2, 4, 3, padding=1),
        nn.BatchNorm3d(4),
        lif(),
        nn.Conv3d(4, 4, (1, 3, 3), stride=2),
        lif(),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
        nn.Linear(4, CLASSES),
    )


@network(5)
def nested_names() -> nn.Module:
    """Blocks in blocks, ModuleList and ModuleDict."""
    block = nn.Sequential(OrderedDict(fc=nn.Linear(7, 7), act=lif()))

    def forward(s: Any, x: Tensor) -> Any:
        x = s.heads["in"](x)
        for each in s.blocks:
            x = x + each(x)
        return s.heads["out"](x)

    return Net(
        forward,
        blocks=nn.ModuleList([block, nn.Sequential(nn.Linear(7, 7), lif())]),
        heads=nn.ModuleDict(
            {"in": nn.Sequential(nn.Linear(5, 7), lif()), "out": nn.Linear(7, CLASSES)}
        ),
    )


@network(5)
def two_heads() -> nn.Module:
    """Two readouts of different layers, added."""

    def forward(s: Any, x: Tensor) -> Any:
        a = s.l0(s.f0(x))
        return s.h0(a) + s.h1(s.l1(s.f1(a)))

    return Net(
        forward,
        f0=nn.Linear(5, 7),
        l0=lif(),
        f1=nn.Linear(7, 6),
        l1=lif(),
        h0=nn.Linear(7, CLASSES),
        h1=nn.Linear(6, CLASSES),
    )


@network(5)
def neuron_after_neuron() -> nn.Module:
    """Two neurons with nothing between them."""
    layers = nn.Linear(5, 7), lif(), lif(threshold=0.7), nn.Linear(7, CLASSES)
    return nn.Sequential(*layers)


@network(5)
def neuron_first() -> nn.Module:
    """The input goes straight into a neuron."""
    return nn.Sequential(lif(), nn.Linear(5, 6), lif(), nn.Linear(6, CLASSES))


@network(5)
def input_skip() -> nn.Module:
    """A skip from the input to a later current and to the readout."""

    def forward(s: Any, x: Tensor) -> Any:
        a = s.l1(s.f1(s.l0(s.f0(x))) + s.skip(x))
        return s.f2(torch.cat([a, x], -1))

    return Net(
        forward,
        f0=nn.Linear(5, 6),
        l0=lif(),
        f1=nn.Linear(6, 6),
        skip=nn.Linear(5, 6),
        l1=lif(),
        f2=nn.Linear(11, CLASSES),
    )


@network(2, 5, 5)
def padding_modes() -> nn.Module:
    """Convolutions padded by reflection and around."""
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular"),
        lif(),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
        lif(),
        nn.Flatten(),
        nn.Linear(100, CLASSES),
    )


@network(2, 6, 6)
def transposed_with_groups() -> nn.Module:
    """A transposed convolution with stride, groups and output padding."""
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2),
        lif(),
        nn.ConvTranspose2d(4, 4, 3, stride=2, groups=2, output_padding=1),
        lif(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, CLASSES),
    )
