"""Spiking VGG networks: 3x3 convolutions with bias, batch norm, LIF, average pools.

Structures of the reference code of Yu et al. (NeurIPS 2024); VGGSNN is the network of Deng et al.,
"Temporal Efficient Training of Spiking Neural Network via Gradient Re-weighting" (ICLR 2022).
Convolution and linear weights are drawn from N(0, 0.5^2) and biases are 0, as in that reference
code: batch norm hides the scale of the convolutions, so only the classifier starts unusually wide.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from ratebp.models.blocks import POOL, NeuronSettings, Parts, parts, vgg_net

_WEIGHT_STD = 0.5
_VGG11 = (64, POOL, 128, 256, POOL, 512, 512, POOL, 512, POOL, 512, 512)
_VGG13 = (64, 64, POOL, 128, 128, POOL, 256, 256, POOL, 512, 512, 512, POOL, 512)
_VGGSNN = (64, 128, POOL, 256, 256, POOL, 512, 512, POOL, 512, 512)


def _vgg(
    stages: Sequence[int | str],
    map_size: int,
    num_classes: int,
    in_channels: int,
    width: float,
    made: Parts,
) -> nn.Module:
    """`vgg_net` with its weights drawn."""
    model = vgg_net(stages, map_size, num_classes, in_channels, width, made)
    _draw_wide(model)
    return made.drawn(model)


def _draw_wide(model: nn.Module) -> None:
    """Weights from N(0, 0.5^2), biases 0; batch norm keeps torch's (1, 0)."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.normal_(module.weight, std=_WEIGHT_STD)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def vgg11(
    *,
    num_classes: int = 10,
    in_channels: int = 3,
    width: float = 1.0,
    neuron: NeuronSettings | None = None,
    norm: str = "batch",
    timesteps: int | None = None,
) -> nn.Module:
    """VGG-11 for small images: eight convolutions, global average pool; at least 16x16 pixels."""
    made = parts(neuron, norm, timesteps)
    return _vgg(_VGG11, 1, num_classes, in_channels, width, made)


def vgg13(
    *,
    num_classes: int = 10,
    in_channels: int = 3,
    width: float = 1.0,
    neuron: NeuronSettings | None = None,
    norm: str = "batch",
    timesteps: int | None = None,
) -> nn.Module:
    """VGG-13 for small images: ten convolutions, global average pool; at least 16x16 pixels."""
    made = parts(neuron, norm, timesteps)
    return _vgg(_VGG13, 1, num_classes, in_channels, width, made)


def vggsnn(
    *,
    num_classes: int = 10,
    in_channels: int = 2,
    width: float = 1.0,
    neuron: NeuronSettings | None = None,
    norm: str = "batch",
    timesteps: int | None = None,
) -> nn.Module:
    """VGGSNN: eight convolutions, last map averaged to 3x3; event frames 2x48x48 or small images.

    The event form ends in a 2x2 average pool, the form for small images in an adaptive pool to
    3x3. On 48x48 frames the last map is 6x6, where the two are the same average, so the adaptive
    pool serves both.
    """
    made = parts(neuron, norm, timesteps)
    return _vgg(_VGGSNN, 3, num_classes, in_channels, width, made)
