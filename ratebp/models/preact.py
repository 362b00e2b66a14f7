"""PreAct-ResNet-34: neurons before the convolutions, real-valued maps on the residual path.

The network of the reference code of Yu et al. (NeurIPS 2024) for ImageNet. No neuron stands in the
stem or before the classifier.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

from torch import Tensor, nn

from ratebp.models.blocks import (
    NeuronSettings,
    Parts,
    conv_norm,
    kaiming_fan_out,
    parts,
    residual_net,
    scaled,
    stages,
)


def _lif_conv_norm(
    made: Parts, inputs: int, outputs: int, stride: int = 1
) -> OrderedDict[str, nn.Module]:
    """Neuron, 3x3 convolution with bias, batch norm."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(lif=made.neuron())
    layers.update(conv_norm(made, inputs, outputs, stride=stride, bias=True))
    return layers


class PreActBlock(nn.Module):
    """LIF-conv3x3(stride)-BN-LIF-conv3x3-BN, plus the shortcut: real values in and out.

    The shortcut is the identity, or conv1x1(stride)-BN of the block's raw input where shapes
    change; convolutions have biases. `[B, C, H, W]` to `[B, C', H/stride, W/stride]`, rounded up.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, made: Parts) -> None:
        """Make the layers out of `made`."""
        super().__init__()
        self.first = nn.Sequential(_lif_conv_norm(made, inputs, outputs, stride))
        self.second = nn.Sequential(_lif_conv_norm(made, outputs, outputs))
        same = stride == 1 and inputs == outputs
        self.shortcut = (
            nn.Identity()
            if same
            else nn.Sequential(conv_norm(made, inputs, outputs, 1, stride, bias=True))
        )

    def forward(self, x: Tensor) -> Tensor:
        """One time step of the block."""
        total: Tensor = self.second(self.first(x)) + self.shortcut(x)
        return total


def preact_resnet34(
    *,
    num_classes: int = 1000,
    in_channels: int = 3,
    width: float = 1.0,
    neuron: NeuronSettings | None = None,
    norm: str = "batch",
    timesteps: int | None = None,
) -> nn.Module:
    """PreAct-ResNet-34 with the ImageNet stem (7x7 stride 2, max pool, no neuron); any size."""
    made = parts(neuron, norm, timesteps)
    channels = [scaled(count, width) for count in (64, 128, 256, 512)]
    layers = conv_norm(made, in_channels, channels[0], kernel=7, stride=2, bias=True)
    layers["pool"] = nn.MaxPool2d(3, stride=2, padding=1)
    body = stages(partial(PreActBlock, made=made), channels[0], channels, (3, 4, 6, 3), 1)
    model = residual_net(nn.Sequential(layers), body, nn.Linear(channels[-1], num_classes))
    kaiming_fan_out(model)
    return made.drawn(model)
