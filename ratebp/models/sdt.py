"""The first Spike-driven Transformer: masks and sums in place of products of matrices.

Yao et al., "Spike-driven Transformer" (NeurIPS 2023).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from torch import Tensor, nn

from ratebp.models.attention import (
    AttentionParts,
    CurrentMlp,
    Residual,
    attention_parts,
    chosen,
    draw_truncated,
    hidden_width,
    lif_conv_norm,
    refuse_heads,
    shares,
    split_heads,
)
from ratebp.models.blocks import NeuronSettings, Parts, conv_norm, conv_norm_lif


@dataclass(frozen=True)
class SdtSize:
    """One published size.

    Attributes:
        depth: number of blocks.
        dim: channels of the tokens.
        heads: of the attention; they matter in `dvs_mode` alone.
        pools: for each of the four convolutions of the embedding, "1" for a max pool.
        dvs_mode: whether spikes are dilated by max pools, see `SpikeDrivenAttention`.
        mlp_ratio: hidden channels of the MLP, as a multiple of `dim`.
        num_classes: K.
        in_channels: of the images.
    """

    depth: int
    dim: int
    heads: int = 8
    pools: str = "1111"
    dvs_mode: bool = False
    mlp_ratio: float = 4
    num_classes: int = 1000
    in_channels: int = 3


SIZES = {
    "tiny": SdtSize(1, 32, 2, "0011", False, 2, 10),
    "2-512": SdtSize(2, 512, pools="0011", num_classes=10),
    "cifar10dvs-2-256": SdtSize(2, 256, 8, "0011", True, 4, 10, 2),
    "gesture-2-256": SdtSize(2, 256, 8, "0111", False, 4, 11, 2),
    "8-384": SdtSize(8, 384),
    "6-512": SdtSize(6, 512),
    "8-512": SdtSize(8, 512),
    "10-512": SdtSize(10, 512),
    "8-768": SdtSize(8, 768),
}


class SdtPatches(nn.Module):
    """Four of conv3x3-BN-LIF to currents of `dim` channels: ``f + BN(conv(LIF(f)))``.

    The first three pools stand behind the neuron, the fourth before it.

    Args:
        made: what it is built of.
        inputs: channels of the images.
        dim: channels of the tokens; the convolutions have an eighth, a fourth, a half and all.
        pools: "1" for a 3x3 max pool of stride 2, for each convolution.
    """

    def __init__(self, made: Parts, inputs: int, dim: int, pools: str) -> None:
        """Make the layers."""
        super().__init__()
        layers = OrderedDict[str, nn.Module]()
        for number, pool in enumerate(pools):
            outputs, last = dim >> (3 - number), number == len(pools) - 1
            step = conv_norm(made, inputs, outputs)
            layers[f"proj{number}"] = (
                nn.Sequential(step) if last else conv_norm_lif(made, inputs, outputs)
            )
            if pool == "1":
                layers[f"pool{number}"] = nn.MaxPool2d(3, 2, 1)
            inputs = outputs
        self.body = nn.Sequential(layers)
        self.rpe = lif_conv_norm(made, dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return the currents ``[B, dim, H', W']``."""
        f = self.body(x)
        out: Tensor = self.rpe(f) + f
        return out


class SpikeDrivenAttention(nn.Module):
    """``BN(W (q * s))`` with ``s = LIF(sum over tokens of k * v)``, where q, k, v are spikes.

    ``q = LIF(BN(W_q LIF(x)))``, k and v alike. Products of spikes are element by element, so that
    heads change nothing.

    Args:
        made: what it is built of.
        dim: C.
    """

    def __init__(self, made: AttentionParts, dim: int) -> None:
        """Make the layers."""
        super().__init__()
        self.shortcut_lif = made.neuron()
        self.q, self.k, self.v = (conv_norm_lif(made, dim, dim, 1) for _ in range(3))
        self.attn_lif = made.attention()
        self.proj = nn.Sequential(conv_norm(made, dim, dim, 1, bias=True))

    def forward(self, x: Tensor) -> Tensor:
        """One time step of the branch."""
        z = self.shortcut_lif(x)
        q, k, v = self.q(z), self.k(z), self.v(z)
        mask = self.attn_lif((k * v).sum((-2, -1), keepdim=True))
        out: Tensor = self.proj(q * mask)
        return out


class DilatedAttention(SpikeDrivenAttention):
    """The same with the published `dvs_mode`: spikes are dilated by max pools 3x3 of stride 1.

    The spikes of k and v over the map; ``k * v`` and ``q * s`` over the plane of tokens (in raster
    order) and channels of a head, which is what the published code does, presumably by mistake: its
    tensor is ``[T, B, heads, N, C / heads]`` there and its pool takes the last two dimensions.

    Args:
        made: what it is built of.
        dim: C.
        heads: how many planes there are.
    """

    def __init__(self, made: AttentionParts, dim: int, heads: int) -> None:
        """Make the layers."""
        super().__init__(made, dim)
        self.heads = heads
        self.pool = nn.MaxPool2d(3, 1, 1)

    def _plane(self, x: Tensor) -> Tensor:
        """Return a map as ``[B, heads, N, C / heads]``."""
        return split_heads(x, self.heads).transpose(-2, -1)

    def forward(self, x: Tensor) -> Tensor:
        """One time step of the branch."""
        z = self.shortcut_lif(x)
        q, k, v = self.q(z), self.pool(self.k(z)), self.pool(self.v(z))
        pairs = self.pool(self._plane(k) * self._plane(v))
        mask = self.attn_lif(pairs.sum(-2, keepdim=True))
        y = self.pool(self._plane(q) * mask).transpose(-2, -1).flatten(1, 2).reshape(q.shape)
        out: Tensor = self.proj(y)
        return out


class SpikeDrivenTransformer(nn.Module):
    """Embedding, blocks, mean over the map, neuron, linear head."""

    def __init__(self, made: AttentionParts, shape: SdtSize, drop_path: float) -> None:
        """Make the layers and draw the convolutions."""
        super().__init__()
        dim, hidden = shape.dim, hidden_width("sdt", shape.dim, shape.mlp_ratio)
        self.patch_embed = SdtPatches(made, shape.in_channels, dim, shape.pools)
        self.block = nn.Sequential(
            *(
                Residual(
                    DilatedAttention(made, dim, shape.heads)
                    if shape.dvs_mode
                    else SpikeDrivenAttention(made, dim),
                    CurrentMlp(made, dim, hidden),
                    share,
                )
                for share in shares(drop_path, shape.depth)
            )
        )
        self.head_lif = made.neuron()
        self.head = nn.Linear(dim, shape.num_classes)
        draw_truncated(self.patch_embed, self.block)

    def forward(self, x: Tensor) -> Tensor:
        """One time step, ``[B, C, H, W] -> [B, K]``."""
        tokens = self.block(self.patch_embed(x))
        logits: Tensor = self.head(self.head_lif(tokens.mean((-2, -1))))
        return logits


def sdt(
    *,
    size: str = "2-512",
    num_classes: int | None = None,
    in_channels: int | None = None,
    neuron: NeuronSettings | None = None,
    attention_threshold: float = 0.5,
    heads: int | None = None,
    mlp_ratio: float | None = None,
    pools: str | None = None,
    dvs_mode: bool | None = None,
    drop_path: float = 0.0,
) -> nn.Module:
    """Spike-driven Transformer v1, "depth-dim": 2-512 for CIFAR, two for events, five for 224^2.

    Any size of image runs: an embedding of p pools makes tokens of 2^p pixels a side. What the
    published code makes and never uses is left out: a convolution over heads in every block, its
    neuron, and stochastic depth, which it never calls (`drop_path` here does what its name says, so
    the published recipes are ``drop_path=0``). `heads` counts in `dvs_mode` alone, see
    `DilatedAttention`.
    """
    shape = chosen(
        "sdt",
        SIZES,
        size,
        num_classes=num_classes,
        in_channels=in_channels,
        heads=heads,
        mlp_ratio=mlp_ratio,
        pools=pools,
        dvs_mode=dvs_mode,
    )
    refuse_heads("sdt", shape.heads, [shape.dim])
    return SpikeDrivenTransformer(attention_parts(neuron, attention_threshold), shape, drop_path)
