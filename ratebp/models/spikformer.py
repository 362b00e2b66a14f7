"""Spikformer: self-attention of spikes, with shortcuts that add spikes.

Zhou et al., "Spikformer: When Spiking Neural Network Meets Transformer" (ICLR 2023).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from torch import Tensor, nn

from ratebp.models.attention import (
    AttentionParts,
    Residual,
    SelfAttention,
    SpikeMlp,
    attention_parts,
    chosen,
    draw_truncated,
    hidden_width,
    refuse_heads,
    shares,
)
from ratebp.models.blocks import NeuronSettings, Parts, conv_norm_lif


@dataclass(frozen=True)
class SpikformerSize:
    """One published size.

    Attributes:
        depth: number of blocks.
        dim: channels of the tokens.
        heads: of the attention.
        pools: for each of the four convolutions of the embedding, "1" for a max pool behind it.
        scale: of the product of attention.
        linear: the form for CIFAR: biases in q, k and v, all drawn as linear layers are.
        keys_first: order of the product.
        mlp_ratio: hidden channels of the MLP, as a multiple of `dim`.
        num_classes: K.
        in_channels: of the images.
    """

    depth: int
    dim: int
    heads: int
    pools: str = "1111"
    scale: float = 0.125
    linear: bool = False
    keys_first: bool = True
    mlp_ratio: float = 4
    num_classes: int = 1000
    in_channels: int = 3


def _cifar(depth: int, dim: int) -> SpikformerSize:
    return SpikformerSize(
        depth, dim, dim // 32, "0011", linear=True, keys_first=False, num_classes=10
    )


SIZES = {
    "tiny": SpikformerSize(1, 32, 2, "0011", 0.125, True, False, 2, 10),
    "4-256": _cifar(4, 256),
    "2-384": _cifar(2, 384),
    "4-384": _cifar(4, 384),
    "2-512": _cifar(2, 512),
    "dvs-2-256": SpikformerSize(2, 256, 16, "1111", 0.25, False, False, 4, 10, 2),
    "8-384": SpikformerSize(8, 384, 6),
    "6-512": SpikformerSize(6, 512, 8),
    "8-512": SpikformerSize(8, 512, 8),
    "10-512": SpikformerSize(10, 512, 8),
    "8-768": SpikformerSize(8, 768, 12),
}


class SpikformerPatches(nn.Module):
    """Four of conv3x3-BN-LIF to `dim` channels, some followed by a max pool, and ``a + rpe(a)``.

    Args:
        made: what it is built of.
        inputs: channels of the images.
        dim: channels of the tokens; the convolutions have an eighth, a fourth, a half and all.
        pools: "1" for a 3x3 max pool of stride 2 behind the neuron, for each convolution.
    """

    def __init__(self, made: Parts, inputs: int, dim: int, pools: str) -> None:
        """Make the layers."""
        super().__init__()
        layers = OrderedDict[str, nn.Module]()
        for number, pool in enumerate(pools):
            outputs = dim >> (3 - number)
            layers[f"proj{number}"] = conv_norm_lif(made, inputs, outputs)
            if pool == "1":
                layers[f"pool{number}"] = nn.MaxPool2d(3, 2, 1)
            inputs = outputs
        self.body = nn.Sequential(layers)
        self.rpe = conv_norm_lif(made, dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sums of spikes ``[B, dim, H', W']``."""
        a = self.body(x)
        out: Tensor = a + self.rpe(a)
        return out


class Spikformer(nn.Module):
    """Embedding, blocks, mean over the tokens, linear head."""

    def __init__(self, made: AttentionParts, shape: SpikformerSize, drop_path: float) -> None:
        """Make the layers and draw the weights of linear ones."""
        super().__init__()
        hidden = hidden_width("spikformer", shape.dim, shape.mlp_ratio)
        self.patch_embed = SpikformerPatches(made, shape.in_channels, shape.dim, shape.pools)
        self.block = nn.Sequential(
            *(
                Residual(self._attention(made, shape), SpikeMlp(made, shape.dim, hidden), share)
                for share in shares(drop_path, shape.depth)
            )
        )
        self.head = nn.Linear(shape.dim, shape.num_classes)
        draw_truncated(self.head, *([self.block] if shape.linear else []))

    @staticmethod
    def _attention(made: AttentionParts, shape: SpikformerSize) -> nn.Module:
        return SelfAttention(
            made,
            shape.dim,
            shape.heads,
            shape.scale,
            bias=shape.linear,
            keys_first=shape.keys_first,
        )

    def forward(self, x: Tensor) -> Tensor:
        """One time step, ``[B, C, H, W] -> [B, K]``."""
        tokens = self.block(self.patch_embed(x))
        logits: Tensor = self.head(tokens.mean((-2, -1)))
        return logits


def spikformer(
    *,
    size: str = "4-384",
    num_classes: int | None = None,
    in_channels: int | None = None,
    neuron: NeuronSettings | None = None,
    attention_threshold: float = 0.5,
    heads: int | None = None,
    mlp_ratio: float | None = None,
    pools: str | None = None,
    drop_path: float = 0.0,
) -> nn.Module:
    """Spikformer, "depth-dim": 4-384 for CIFAR, dvs-2-256 for events, 8-384 to 8-768 for 224^2.

    Any size of image runs: an embedding of p pools makes tokens of 2^p pixels a side. The heads of
    2-384, 4-256 and 2-512 (32 channels each) and of 8-384 and 8-768 (64) are not confirmed; they
    change no count. The published code makes layer norms, for events also a position embedding,
    that it never uses: left out here. It makes stochastic depth and never calls it: `drop_path`
    here does what its name says, so the published recipes are ``drop_path=0``.
    """
    shape = chosen(
        "spikformer",
        SIZES,
        size,
        num_classes=num_classes,
        in_channels=in_channels,
        heads=heads,
        mlp_ratio=mlp_ratio,
        pools=pools,
    )
    refuse_heads("spikformer", shape.heads, [shape.dim])
    return Spikformer(attention_parts(neuron, attention_threshold), shape, drop_path)
