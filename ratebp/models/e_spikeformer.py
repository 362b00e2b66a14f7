"""E-SpikeFormer, the third Spike-driven Transformer, made to be trained with integer neurons.

Yao et al., "Scaling Spike-driven Transformer with Efficient Spike Firing Approximation Training"
(TPAMI 2025).
"""

from __future__ import annotations

from torch import Tensor, nn

from ratebp.models.attention import (
    AttentionParts,
    CurrentMlp,
    DropPath,
    Residual,
    attend,
    chosen,
    hidden_width,
    refuse_heads,
)
from ratebp.models.blocks import NeuronSettings, conv_norm, conv_norm_lif
from ratebp.models.sdt_v2 import ConvBlock, MetaSpikeFormer, SdtV2Size, SeparableConv, macro

PUBLISHED_NEURON: NeuronSettings = {"decay": 1.0, "threshold": 4.0, "reset": "soft"}
"""Four levels, a current of one apart."""

SIZES = {
    "tiny": SdtV2Size((16, 16, 16, 32), (1, 1, 1, 1, 1), 8, 2, 10),
    "2.7m": SdtV2Size((24, 48, 96, 128)),
    "5.1m": SdtV2Size((32, 64, 128, 192)),
    "10m": SdtV2Size((48, 96, 192, 240)),
    "19m": SdtV2Size((64, 128, 256, 360)),
}


class WideAttention(nn.Module):
    """``BN(W LIF(2 (C / 8)^-1/2 (Q K^T) V))``, where V has four times the channels of Q and K."""

    def __init__(self, made: AttentionParts, width: int, heads: int) -> None:
        """Make the layers."""
        super().__init__()
        self.head_lif = made.neuron()
        self.q, self.k = (conv_norm_lif(made, width, width, 1) for _ in range(2))
        self.v = conv_norm_lif(made, width, 4 * width, 1)
        self.attn_lif = made.attention()
        self.proj = nn.Sequential(conv_norm(made, 4 * width, width, 1))
        self.heads = heads
        self.scale = 2 * (width / heads) ** -0.5

    def forward(self, x: Tensor) -> Tensor:
        """One time step of the branch."""
        z = self.head_lif(x)
        y = attend(self.q(z), self.k(z), self.v(z), self.heads, self.scale, keys_first=False)
        out: Tensor = self.proj(self.attn_lif(y))
        return out


class Block(nn.Module):
    """``x + SeparableConv(x)`` with a kernel of 3, then attention and MLP on the shortcut."""

    def __init__(
        self, made: AttentionParts, width: int, hidden: int, heads: int, share: float
    ) -> None:
        """Make the layers; `share` of the branches are dropped in training."""
        super().__init__()
        self.separable = SeparableConv(made, width, 3, spiking=True)
        self.drop = DropPath(share) if share else nn.Identity()
        attention = WideAttention(made, width, heads)
        self.rest = Residual(attention, CurrentMlp(made, width, hidden), share)

    def forward(self, x: Tensor) -> Tensor:
        """One time step of the block."""
        out: Tensor = self.rest(x + self.drop(self.separable(x)))
        return out


def e_spikeformer(
    *,
    size: str = "5.1m",
    num_classes: int | None = None,
    in_channels: int | None = None,
    neuron: NeuronSettings | None = None,
    heads: int | None = None,
    mlp_ratio: float | None = None,
    drop_path: float = 0.0,
) -> nn.Module:
    """E-SpikeFormer (SDT-v3) of 2.7, 5.1, 10 or 19 million parameters, for integer neurons.

    The published code has no time axis: a neuron gives ``round(clip(u, 0, 4)) / 4``. That is what
    ``ratebp.methods.get("sfa", rounding="nearest", inference="integers")`` makes of the neurons
    here (threshold 4, no leak, soft reset) at T = 4. The published neuron before the head is not
    divided by 4; here it is, and the head's weights take that up.
    """
    shape = chosen(
        "e_spikeformer",
        SIZES,
        size,
        num_classes=num_classes,
        in_channels=in_channels,
        heads=heads,
        mlp_ratio=mlp_ratio,
    )
    refuse_heads("e_spikeformer", shape.heads, shape.widths[2:])
    settings = PUBLISHED_NEURON if neuron is None else neuron
    made = AttentionParts(settings, attention_threshold=1.0)

    def block(width: int, share: float) -> nn.Module:
        hidden = hidden_width("e_spikeformer", width, shape.mlp_ratio)
        return Block(made, width, hidden, shape.heads, share)

    body = macro(
        made, shape, drop_path, lambda c, share: ConvBlock(made, c, share, spiking=True), block
    )
    return MetaSpikeFormer(made, body, shape.widths[-1], shape.num_classes)
