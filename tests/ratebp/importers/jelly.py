"""A small network of SpikingJelly, with every kind of layer."""

import torch
from torch import nn

from tests.ratebp.importers.packages import package

neuron = package("spikingjelly.activation_based.neuron")
layer = package("spikingjelly.activation_based.layer")
functional = package("spikingjelly.activation_based.functional")

T, B = 4, 3


def lif(**settings):
    return neuron.LIFNode(**settings)


def body(node, mode="m"):
    """A small network with every kind of layer."""
    net = nn.Sequential(
        layer.Conv2d(1, 4, 3, padding=1, bias=False),
        layer.BatchNorm2d(4),
        node(),
        layer.MaxPool2d(2),
        layer.SeqToANNContainer(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4))
        if mode == "m"
        else nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)),
        node(),
        layer.AvgPool2d(2),
        layer.Flatten(),
        layer.Dropout(0.5),
        layer.Linear(16, 20),
        node(),
        layer.VotingLayer(5),
    )
    functional.set_step_mode(net, mode)
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(3)
    return net


def batch():
    torch.manual_seed(1)
    return torch.rand(T, B, 1, 8, 8) * 3
