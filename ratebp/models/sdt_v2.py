"""Meta-SpikeFormer, the second Spike-driven Transformer: convolutions first, attention behind them.

Yao et al., "Spike-driven Transformer V2" (ICLR 2024). `macro` is the order of its stages, which the
third version shares.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from ratebp.models.attention import (
    AttentionParts,
    CurrentMlp,
    DropPath,
    Residual,
    attend,
    attention_parts,
    chosen,
    draw_truncated,
    hidden_width,
    lif_conv_norm,
    refuse_heads,
    shares,
)
from ratebp.models.blocks import NeuronSettings, Parts, conv_norm
from ratebp.norms import PaddedNorm


@dataclass(frozen=True)
class SdtV2Size:
    """One published size.

    Attributes:
        widths: channels of the four stages; the first begins with half of its own.
        depths: blocks at each of the five resolutions.
        heads: of the attention.
        mlp_ratio: hidden channels of the MLPs, as a multiple of the stage's.
        num_classes: K.
        in_channels: of the images.
    """

    widths: tuple[int, int, int, int]
    depths: tuple[int, int, int, int, int] = (1, 1, 2, 6, 2)
    heads: int = 8
    mlp_ratio: float = 4
    num_classes: int = 1000
    in_channels: int = 3


SIZES = {
    "tiny": SdtV2Size((16, 16, 24, 32), (1, 1, 1, 1, 1), 2, 2, 10),
    "15m": SdtV2Size((64, 128, 256, 360)),
    "31m": SdtV2Size((96, 192, 384, 480)),
    "55m": SdtV2Size((128, 256, 512, 640)),
}


class SeparableConv(nn.Sequential):
    """LIF-conv1x1-BN-LIF-depthwise-conv1x1-BN: twice the channels inside, as many outside.

    Args:
        made: what it is built of.
        width: C.
        kernel: of the depthwise convolution.
        spiking: whether a norm and a neuron stand between the last two convolutions.
    """

    def __init__(self, made: Parts, width: int, kernel: int = 7, *, spiking: bool = False) -> None:
        """Make the layers."""
        super().__init__()
        inside = 2 * width
        self.expand = lif_conv_norm(made, width, inside, 1)
        self.lif = made.neuron()
        self.depthwise = nn.Conv2d(
            inside, inside, kernel, padding=kernel // 2, groups=inside, bias=False
        )
        if spiking:
            self.norm = made.norm(inside)
            self.lif2 = made.neuron()
        self.reduce = nn.Sequential(conv_norm(made, inside, width, 1))


class ConvBlock(nn.Module):
    """``x + SeparableConv(x)``, then ``x + f(x)``, f two of LIF-conv3x3-BN with 4 C inside."""

    def __init__(self, made: Parts, width: int, share: float, *, spiking: bool = False) -> None:
        """Make the layers; `share` of the branches are dropped in training."""
        super().__init__()
        self.separable = SeparableConv(made, width, spiking=spiking)
        self.wide = nn.Sequential(
            lif_conv_norm(made, width, 4 * width), lif_conv_norm(made, 4 * width, width)
        )
        self.drop = DropPath(share) if share else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """One time step of the block."""
        x = x + self.separable(x)
        out: Tensor = x + self.drop(self.wide(x))
        return out


class RepConv(nn.Sequential):
    """conv1x1-BN with a border-depthwise conv3x3-conv1x1-BN-BN: linear once it is trained."""

    def __init__(self, made: Parts, width: int) -> None:
        """Make the layers."""
        super().__init__()
        self.conv = made.conv(width, width, 1, 1, False)
        self.border = PaddedNorm(width)
        self.depthwise = nn.Conv2d(width, width, 3, groups=width, bias=False)
        self.pointwise = made.conv(width, width, 1, 1, False)
        self.inner = made.norm(width)
        self.outer = made.norm(width)


class RepAttention(nn.Module):
    """``Rep(LIF(0.125 Q K^T V))`` with ``Q = LIF(Rep(LIF(x)))``, K and V alike: currents out."""

    def __init__(self, made: AttentionParts, width: int, heads: int) -> None:
        """Make the layers."""
        super().__init__()
        self.head_lif = made.neuron()
        self.q, self.k, self.v = (
            nn.Sequential(OrderedDict(rep=RepConv(made, width), lif=made.neuron()))
            for _ in range(3)
        )
        self.attn_lif = made.attention()
        self.proj = RepConv(made, width)
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        """One time step of the branch."""
        z = self.head_lif(x)
        y = attend(self.q(z), self.k(z), self.v(z), self.heads, 0.125, keys_first=True)
        out: Tensor = self.proj(self.attn_lif(y))
        return out


Block = Callable[[int, float], nn.Module]
"""``block(channels, share of dropped branches)``."""


def macro(
    made: Parts, shape: SdtV2Size, drop_path: float, conv_block: Block, block: Block
) -> nn.Sequential:
    """Return five stages, each a convolution with norm and its blocks, `[B, C, H, W]` to currents.

    The first convolution is 7x7 and sees the image, the others 3x3 and have a neuron before them;
    all but the last have a stride of 2, so that the map shrinks 16 times.

    Args:
        made: what it is built of.
        shape: widths and depths.
        drop_path: share of dropped branches in the last block.
        conv_block: of the first three stages.
        block: of the last two.
    """
    widths = (shape.widths[0] // 2, *shape.widths)
    share: Iterator[float] = iter(shares(drop_path, sum(shape.depths)))
    stages = OrderedDict[str, nn.Module]()
    inputs = shape.in_channels
    for number, (width, depth) in enumerate(zip(widths, shape.depths, strict=True)):
        if number == 0:
            down = nn.Sequential(conv_norm(made, inputs, width, 7, 2, bias=True))
        else:
            stride = 1 if number == 4 else 2
            down = lif_conv_norm(made, inputs, width, 3, stride, bias=True)
        make = conv_block if number < 3 else block
        stages[f"down{number}"] = down
        stages[f"stage{number}"] = nn.Sequential(*(make(width, next(share)) for _ in range(depth)))
        inputs = width
    return nn.Sequential(stages)


class MetaSpikeFormer(nn.Module):
    """Stages, mean over the map, neuron, linear head."""

    def __init__(self, made: Parts, body: nn.Module, width: int, num_classes: int) -> None:
        """Take the stages, which end with `width` channels."""
        super().__init__()
        self.body = body
        self.lif = made.neuron()
        self.head = nn.Linear(width, num_classes)
        draw_truncated(self.head)

    def forward(self, x: Tensor) -> Tensor:
        """One time step, ``[B, C, H, W] -> [B, K]``."""
        logits: Tensor = self.head(self.lif(self.body(x).mean((-2, -1))))
        return logits


def sdt_v2(
    *,
    size: str = "15m",
    num_classes: int | None = None,
    in_channels: int | None = None,
    neuron: NeuronSettings | None = None,
    attention_threshold: float = 0.5,
    heads: int | None = None,
    mlp_ratio: float | None = None,
    drop_path: float = 0.0,
) -> nn.Module:
    """Spike-driven Transformer v2 (Meta-SpikeFormer) of 15, 31 or 55 million parameters.

    Any size of image runs; the tokens of the attention are 16 pixels a side. The widths of 15m are
    not in the published code: those here give the published count. The second head for distillation
    is left out. The published code never calls its stochastic depth: the recipes are
    ``drop_path=0``. The border of its padded norms follows running statistics, see
    `ratebp.norms.PaddedNorm`.
    """
    shape = chosen(
        "sdt_v2",
        SIZES,
        size,
        num_classes=num_classes,
        in_channels=in_channels,
        heads=heads,
        mlp_ratio=mlp_ratio,
    )
    refuse_heads("sdt_v2", shape.heads, shape.widths[2:])
    made = attention_parts(neuron, attention_threshold)

    def block(width: int, share: float) -> nn.Module:
        hidden = hidden_width("sdt_v2", width, shape.mlp_ratio)
        attention = RepAttention(made, width, shape.heads)
        return Residual(attention, CurrentMlp(made, width, hidden), share)

    body = macro(made, shape, drop_path, lambda c, share: ConvBlock(made, c, share), block)
    return MetaSpikeFormer(made, body, shape.widths[-1], shape.num_classes)
