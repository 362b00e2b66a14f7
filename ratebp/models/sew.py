"""SEW-ResNet-34: residual addition after the neurons, so maps hold small integers.

Fang et al., "Deep Residual Learning in Spiking Neural Networks" (NeurIPS 2021), with g = ADD;
biases and initialisation as in the reference code of Yu et al. (NeurIPS 2024).
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from ratebp.models.blocks import (
    NeuronSettings,
    Parts,
    conv_norm_lif,
    kaiming_fan_out,
    parts,
    residual_net,
    scaled,
    stages,
)


class SEWBlock(nn.Module):
    """conv3x3(stride)-BN-LIF-conv3x3-BN-LIF, plus the shortcut: integers in, integers out.

    The shortcut is the identity, or conv1x1(stride)-BN-LIF where shapes change; convolutions have
    biases. `[B, C, H, W]` to `[B, C', H/stride, W/stride]`, rounded up.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, made: Parts) -> None:
        """Make the layers out of `made`."""
        super().__init__()
        self.first = conv_norm_lif(made, inputs, outputs, stride=stride, bias=True)
        self.second = conv_norm_lif(made, outputs, outputs, bias=True)
        same = stride == 1 and inputs == outputs
        self.shortcut = (
            nn.Identity() if same else conv_norm_lif(made, inputs, outputs, 1, stride, bias=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        """One time step of the block."""
        total: Tensor = self.second(self.first(x)) + self.shortcut(x)
        return total


def sew_resnet34(
    *,
    num_classes: int = 1000,
    in_channels: int = 3,
    width: float = 1.0,
    neuron: NeuronSettings | None = None,
    norm: str = "batch",
    timesteps: int | None = None,
) -> nn.Module:
    """SEW-ResNet-34 with the ImageNet stem (7x7 stride 2, max pool); any image size."""
    made = parts(neuron, norm, timesteps)
    channels = [scaled(count, width) for count in (64, 128, 256, 512)]
    stem = conv_norm_lif(made, in_channels, channels[0], kernel=7, stride=2, bias=True)
    stem.add_module("pool", nn.MaxPool2d(3, stride=2, padding=1))
    body = stages(partial(SEWBlock, made=made), channels[0], channels, (3, 4, 6, 3), 1)
    model = residual_net(stem, body, nn.Linear(channels[-1], num_classes))
    kaiming_fan_out(model)
    return made.drawn(model)
