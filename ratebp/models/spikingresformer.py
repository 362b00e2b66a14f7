"""SpikingResformer: attention between spikes and real-valued maps, convolutions in groups.

Shi et al., "SpikingResformer: Bridging ResNet and Vision Transformer in Spiking Neural Networks"
(CVPR 2024).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ratebp.models.attention import (
    DropPath,
    chosen,
    draw_truncated,
    lif_conv_norm,
    shares,
    split_heads,
)
from ratebp.models.blocks import NeuronSettings, Parts, conv_norm, parts
from ratebp.norms import RateScale

_LIF: NeuronSettings = {
    "decay": 0.5,
    "threshold": 2.0,
    "reset": "hard",
    "surrogate": "atan",
    "alpha": 1.0,
}
_PLIF: NeuronSettings = {
    "type": "plif",
    "decay": 0.5,
    "threshold": 1.0,
    "reset": "hard",
    "surrogate": "atan",
    "alpha": 2.0,
}
_DEPTHS = (1, 2, 3)
_PATCHES = (4, 2, 1)


@dataclass(frozen=True)
class SpikingResformerSize:
    """One published size.

    Attributes:
        widths: channels of the three stages.
        head: channels of a head of the attention.
        group: channels of a group in the feed-forward network.
        large: whether the stem is for large images: 7x7 of stride 2 and a max pool, else 3x3.
        neuron: settings of the published neuron; None for those of most.
        num_classes: K.
        in_channels: of the images.
    """

    widths: tuple[int, int, int]
    head: int = 64
    group: int = 64
    large: bool = True
    neuron: NeuronSettings | None = None
    num_classes: int = 1000
    in_channels: int = 3


SIZES = {
    "tiny": SpikingResformerSize((8, 16, 32), 8, 8, False, num_classes=10),
    "ti": SpikingResformerSize((64, 192, 384)),
    "s": SpikingResformerSize((64, 256, 512)),
    "m": SpikingResformerSize((64, 384, 768)),
    "l": SpikingResformerSize((128, 512, 1024)),
    "cifar-ti": SpikingResformerSize((64, 192, 384), large=False, num_classes=10),
    "gesture-ti": SpikingResformerSize((32, 96, 192), 32, 32, False, _PLIF, 11),
}


class DualSpikeAttention(nn.Module):
    """``f + BN(W LIF(c2 y2 LIF(c1 y1^T x)))`` of spikes ``x = LIF(f)`` and a map y made of them.

    ``y = BN(conv(x))`` has twice the channels and one place for each patch; y1 and y2 are the
    halves of each head. The scales c1 and c2 are those of `RateScale`, which stands on x and on the
    attention here: the products are the same.

    Args:
        made: what it is built of.
        width: C.
        heads: which split the channels.
        patch: side of a patch.
        share: of samples whose branch is dropped in training.
    """

    def __init__(self, made: Parts, width: int, heads: int, patch: int, share: float) -> None:
        """Make the layers."""
        super().__init__()
        self.lif = made.neuron()
        self.patches = nn.Conv2d(width, 2 * width, patch, patch, bias=False)
        self.norm = made.norm(2 * width)
        self.input_scale, self.attn_scale = RateScale(heads), RateScale(heads)
        self.attn_lif, self.out_lif = made.neuron(), made.neuron()
        self.proj = nn.Sequential(conv_norm(made, width, width, 1))
        self.drop = DropPath(share) if share else nn.Identity()
        self.heads = heads

    def forward(self, f: Tensor) -> Tensor:
        """One time step of the block."""
        x = self.lif(f)
        y1, y2 = split_heads(self.norm(self.patches(x)), self.heads).chunk(2, 2)
        scaled = self.input_scale(split_heads(x, self.heads))
        attention = self.attn_lif(torch.matmul(y1.transpose(-2, -1), scaled))
        mixed = torch.matmul(y2, self.attn_scale(attention)).flatten(1, 2).reshape(f.shape)
        out: Tensor = f + self.drop(self.proj(self.out_lif(mixed)))
        return out


class GroupFeedForward(nn.Module):
    """``f + g(f)``: conv1x1 to 4 C, a convolution 3x3 in groups on its shortcut, conv1x1 to C."""

    def __init__(self, made: Parts, width: int, group: int, share: float) -> None:
        """Make the layers, each behind a neuron; groups are of `group` channels."""
        super().__init__()
        inside = 4 * width
        self.up = lif_conv_norm(made, width, inside, 1)
        self.lif = made.neuron()
        self.conv = nn.Conv2d(inside, inside, 3, padding=1, groups=inside // group, bias=False)
        self.norm = made.norm(inside)
        self.down = lif_conv_norm(made, inside, width, 1)
        self.drop = DropPath(share) if share else nn.Identity()

    def forward(self, f: Tensor) -> Tensor:
        """One time step of the block."""
        h = self.up(f)
        h = h + self.norm(self.conv(self.lif(h)))
        out: Tensor = f + self.drop(self.down(h))
        return out


class SpikingResformer(nn.Module):
    """Stem without a neuron, three stages, mean over the map, linear head without a bias."""

    def __init__(self, made: Parts, shape: SpikingResformerSize, drop_path: float) -> None:
        """Make the layers and draw all weights."""
        super().__init__()
        first, share = shape.widths[0], iter(shares(drop_path, sum(_DEPTHS)))
        kernel, stride = (7, 2) if shape.large else (3, 1)
        stem = conv_norm(made, shape.in_channels, first, kernel, stride)
        if shape.large:
            stem["pool"] = nn.MaxPool2d(3, 2, 1)
        stages = OrderedDict[str, nn.Module](stem=nn.Sequential(stem))
        inputs = first
        for number, (width, depth) in enumerate(zip(shape.widths, _DEPTHS, strict=True)):
            if number:
                stages[f"down{number}"] = lif_conv_norm(made, inputs, width, 3, 2)
            blocks: list[nn.Module] = []
            for _ in range(depth):
                heads, dropped = width // shape.head, next(share)
                blocks.append(DualSpikeAttention(made, width, heads, _PATCHES[number], dropped))
                blocks.append(GroupFeedForward(made, width, shape.group, dropped))
            stages[f"stage{number}"] = nn.Sequential(*blocks)
            inputs = width
        self.body = nn.Sequential(stages)
        self.head = nn.Linear(inputs, shape.num_classes, bias=False)
        draw_truncated(self)

    def forward(self, x: Tensor) -> Tensor:
        """One time step, ``[B, C, H, W] -> [B, K]``."""
        logits: Tensor = self.head(self.body(x).mean((-2, -1)))
        return logits


def spikingresformer(
    *,
    size: str = "ti",
    num_classes: int | None = None,
    in_channels: int | None = None,
    neuron: NeuronSettings | None = None,
    drop_path: float = 0.0,
) -> nn.Module:
    """SpikingResformer Ti, S, M and L for 224^2, Ti for CIFAR and, with PLIF, for gestures.

    The smallest image has 4 places a side behind the stem. Scales of the attention follow running
    firing rates, see `ratebp.norms.RateScale`: methods that have no rule for that refuse it. Events
    have three channels in the published code, the third is the sum of the two. Which channels of a
    head are its first half is not confirmed; it changes no count.
    """
    shape = chosen(
        "spikingresformer", SIZES, size, num_classes=num_classes, in_channels=in_channels
    )
    settings = neuron if neuron is not None else shape.neuron or _LIF
    return SpikingResformer(parts(settings), shape, drop_path)
