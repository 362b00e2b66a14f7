"""Spiking ResNets for small images: addition before the neuron, no convolution biases.

Structures of the reference code of Yu et al., "Advancing Training Efficiency of Deep Spiking
Neural Networks through Rate-based Backpropagation" (NeurIPS 2024). Weights are drawn by torch's
defaults, from the global generator.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

from torch import Tensor, nn

from ratebp.models.blocks import (
    NeuronSettings,
    Parts,
    conv_norm,
    conv_norm_lif,
    parts,
    residual_net,
    scaled,
    stages,
)


class BasicBlock(nn.Module):
    """conv3x3(stride)-BN-LIF-conv3x3-BN, plus the shortcut, then LIF: spikes in, spikes out.

    The shortcut is the identity, or conv1x1(stride)-BN where shapes change. `[B, C, H, W]` to
    `[B, C', H/stride, W/stride]`, rounded up.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, made: Parts) -> None:
        """Make the layers out of `made`."""
        super().__init__()
        self.first = conv_norm_lif(made, inputs, outputs, stride=stride)
        self.second = nn.Sequential(conv_norm(made, outputs, outputs))
        same = stride == 1 and inputs == outputs
        self.shortcut = (
            nn.Identity() if same else nn.Sequential(conv_norm(made, inputs, outputs, 1, stride))
        )
        self.lif = made.neuron()

    def forward(self, x: Tensor) -> Tensor:
        """One time step of the block."""
        spikes: Tensor = self.lif(self.second(self.first(x)) + self.shortcut(x))
        return spikes


def resnet18(
    *,
    num_classes: int = 10,
    in_channels: int = 3,
    width: float = 1.0,
    neuron: NeuronSettings | None = None,
    norm: str = "batch",
    timesteps: int | None = None,
) -> nn.Module:
    """ResNet-18 for small images: 3x3 stem, stages of 64 to 512 channels, two blocks each."""
    made = parts(neuron, norm, timesteps)
    channels = [scaled(count, width) for count in (64, 128, 256, 512)]
    stem = conv_norm_lif(made, in_channels, channels[0])
    body = stages(partial(BasicBlock, made=made), channels[0], channels, (2, 2, 2, 2), 1)
    return made.drawn(residual_net(stem, body, nn.Linear(channels[-1], num_classes)))


def resnet19(
    *,
    num_classes: int = 10,
    in_channels: int = 3,
    width: float = 1.0,
    neuron: NeuronSettings | None = None,
    norm: str = "batch",
    timesteps: int | None = None,
) -> nn.Module:
    """ResNet-19 for small images: 128-wide stem, 3 + 3 + 2 blocks, a spiking hidden layer of 256.

    The variant of Yu et al.; others share the name but have a stem of 64 channels or another head.
    """
    made = parts(neuron, norm, timesteps)
    channels = [scaled(count, width) for count in (128, 256, 512)]
    hidden = scaled(256, width)
    stem = conv_norm_lif(made, in_channels, channels[0])
    body = stages(partial(BasicBlock, made=made), channels[0], channels, (3, 3, 2), 1)
    head = nn.Sequential(
        OrderedDict(
            hidden=made.linear(channels[-1], hidden),
            lif=made.neuron(),
            readout=nn.Linear(hidden, num_classes),
        )
    )
    return made.drawn(residual_net(stem, body, head))


def tiny_resnet(
    *,
    num_classes: int = 10,
    in_channels: int = 3,
    width: float = 1.0,
    neuron: NeuronSettings | None = None,
    norm: str = "batch",
    timesteps: int | None = None,
) -> nn.Module:
    """A ResNet of three blocks (16, 32, 64 channels) for a CPU: 78,042 parameters at width 1."""
    made = parts(neuron, norm, timesteps)
    channels = [scaled(count, width) for count in (16, 32, 64)]
    stem = conv_norm_lif(made, in_channels, channels[0])
    body = stages(partial(BasicBlock, made=made), channels[0], channels, (1, 1, 1), 1)
    return made.drawn(residual_net(stem, body, nn.Linear(channels[-1], num_classes)))
