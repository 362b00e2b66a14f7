"""MS-ResNet: the neuron before each convolution, shortcuts that add currents.

Hu et al., "Advancing Spiking Neural Networks Toward Deep Residual Learning" (TNNLS 2024).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from ratebp.models.attention import lif_conv_norm
from ratebp.models.blocks import (
    NeuronSettings,
    Parts,
    conv_norm,
    parts,
    scaled,
    stages,
)

PUBLISHED_NEURON: NeuronSettings = {
    "decay": 0.25,
    "threshold": 0.5,
    "reset": "hard",
    "surrogate": "rectangle",
    "alpha": 1.0,
}


class MSBlock(nn.Module):
    """LIF-conv3x3(stride)-BN-LIF-conv3x3-BN plus the shortcut of x: currents in, currents out.

    The shortcut is the identity, or conv1x1-BN where shapes change, strided or behind an average
    pool. Batch norms start at the neuron's threshold, the last one at 0: a new block is its
    shortcut, and of its branch that norm alone has a gradient at the first update.

    Args:
        inputs: channels.
        outputs: channels.
        stride: of the first convolution and the shortcut.
        made: what it is built of.
        pooled: whether the shortcut is pooled rather than strided.
    """

    def __init__(
        self, inputs: int, outputs: int, stride: int, made: Parts, *, pooled: bool = False
    ) -> None:
        """Make the layers."""
        super().__init__()
        self.first = lif_conv_norm(made, inputs, outputs, stride=stride)
        self.second = lif_conv_norm(made, outputs, outputs)
        nn.init.zeros_(self.second.get_submodule("norm").get_parameter("weight"))
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            layers = conv_norm(made, inputs, outputs, 1, 1 if pooled else stride)
            pool = [nn.AvgPool2d(stride, ceil_mode=True)] if pooled else []
            self.shortcut = nn.Sequential(*pool, *layers.values())

    def forward(self, x: Tensor) -> Tensor:
        """One time step of the block."""
        total: Tensor = self.second(self.first(x)) + self.shortcut(x)
        return total


class MSResNet(nn.Module):
    """Stem, blocks, neuron, mean over the map, head."""

    def __init__(self, made: Parts, stem: nn.Module, body: nn.Module, head: nn.Module) -> None:
        """Keep the layers."""
        super().__init__()
        self.stem, self.stages, self.lif, self.head = stem, body, made.neuron(), head

    def forward(self, x: Tensor) -> Tensor:
        """One time step, ``[B, C, H, W] -> [B, K]``."""
        spikes = self.lif(self.stages(self.stem(x)))
        logits: Tensor = self.head(spikes.mean((-2, -1)))
        return logits


def ms_resnet_parts(neuron: NeuronSettings | None) -> Parts:
    """The parts of an MS-ResNet; without settings, of the published neuron."""
    return parts(PUBLISHED_NEURON if neuron is None else neuron, "tdbn")


def _ms_resnet(
    made: Parts,
    stem: nn.Module,
    channels: Sequence[int],
    depths: Sequence[int],
    head: nn.Module,
    *,
    pooled: bool = False,
) -> nn.Module:
    block = partial(MSBlock, made=made, pooled=pooled)
    return MSResNet(made, stem, stages(block, channels[0], channels, depths, 2), head)


def _widths(width: float) -> list[int]:
    return [scaled(count, width) for count in (64, 128, 256, 512)]


def _narrow_stem(made: Parts, inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(conv_norm(made, inputs, outputs, 7, 2))


def ms_resnet18(
    *,
    num_classes: int = 1000,
    in_channels: int = 3,
    width: float = 1.0,
    neuron: NeuronSettings | None = None,
) -> nn.Module:
    """MS-ResNet-18: 7x7 stem, stages of 64 to 512 channels, two blocks each, each stage halved."""
    made, channels = ms_resnet_parts(neuron), _widths(width)
    stem, head = _narrow_stem(made, in_channels, channels[0]), nn.Linear(channels[-1], num_classes)
    return _ms_resnet(made, stem, channels, (2, 2, 2, 2), head)


def ms_resnet34(
    *,
    num_classes: int = 1000,
    in_channels: int = 3,
    width: float = 1.0,
    neuron: NeuronSettings | None = None,
) -> nn.Module:
    """MS-ResNet-34: 7x7 stem, stages of 64 to 512 channels, 3 + 4 + 6 + 3 blocks, each halved."""
    made, channels = ms_resnet_parts(neuron), _widths(width)
    stem, head = _narrow_stem(made, in_channels, channels[0]), nn.Linear(channels[-1], num_classes)
    return _ms_resnet(made, stem, channels, (3, 4, 6, 3), head)


def ms_resnet104(
    *,
    num_classes: int = 1000,
    in_channels: int = 3,
    width: float = 1.0,
    neuron: NeuronSettings | None = None,
    dropout: float = 0.0,
) -> nn.Module:
    """MS-ResNet-104: a stem of three convolutions, 3 + 8 + 32 + 8 blocks, pooled shortcuts.

    The paper drops a share of 0.2 of the mean features: ``dropout=0.2``. There the mean is over
    time too, here the mask is one for all time steps, which is the same.
    """
    made, channels = ms_resnet_parts(neuron), _widths(width)
    first, inner = channels[0], made.conv
    stem = nn.Sequential(
        inner(in_channels, first, 3, 2, True),
        inner(first, first, 3, 1, True),
        inner(first, first, 3, 1, True),
        made.norm(first),
    )
    readout = nn.Linear(channels[-1], num_classes)
    head = nn.Sequential(nn.Dropout(dropout), readout) if dropout else readout
    return _ms_resnet(made, stem, channels, (3, 8, 32, 8), head, pooled=True)
