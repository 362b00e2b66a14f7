"""QKFormer: three stages of tokens, the first ones with attention that is linear in their number.

Zhou et al., "QKFormer: Hierarchical Spiking Transformer using Q-K Attention" (NeurIPS 2024).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

from ratebp.errors import OptionError
from ratebp.models.attention import (
    AttentionParts,
    Residual,
    SelfAttention,
    SpikeMlp,
    attention_parts,
    chosen,
    hidden_width,
    refuse_heads,
    shares,
)
from ratebp.models.blocks import NeuronSettings, Parts, conv_norm, conv_norm_lif


@dataclass(frozen=True)
class QKFormerSize:
    """One published size.

    Attributes:
        form: of the embeddings: "cifar", "dvs" or "imagenet".
        depths: blocks of each stage; those of the last have self-attention, the others Q-K.
        dim: channels of the last stage; each stage before has half.
        heads: of every attention.
        mlp_ratio: hidden channels of the MLPs, as a multiple of the stage's.
        num_classes: K.
        in_channels: of the images.
    """

    form: str
    depths: tuple[int, ...]
    dim: int
    heads: int = 8
    mlp_ratio: float = 4
    num_classes: int = 1000
    in_channels: int = 3

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each stage."""
        last = len(self.depths) - 1
        return tuple(self.dim >> (last - number) for number in range(len(self.depths)))


_DVS = QKFormerSize("dvs", (1, 1), 256, 16, 1, 10, 2)
SIZES = {
    "tiny": QKFormerSize("cifar", (1, 1, 1), 32, 8, 2, 10),
    "4-384": QKFormerSize("cifar", (1, 1, 2), 384, 8, num_classes=10),
    "cifar10dvs-2-256": _DVS,
    "gesture-2-256": replace(_DVS, mlp_ratio=4, num_classes=11),
    "10-384": QKFormerSize("imagenet", (1, 2, 7), 384, 6),
    "10-512": QKFormerSize("imagenet", (1, 2, 7), 512, 8),
    "10-768": QKFormerSize("imagenet", (1, 2, 7), 768, 12),
}

ROWS = ("time", "rows")


class Embedding(nn.Module):
    """``a = entry(x)``, then ``main(a)`` plus a convolution 1x1 with norm and neuron of ``a``.

    Args:
        entry: in front of both branches.
        main: the branch of 3x3 convolutions.
        shortcut: the other.
    """

    def __init__(self, entry: nn.Module, main: nn.Module, shortcut: nn.Module) -> None:
        """Keep the layers."""
        super().__init__()
        self.entry, self.main, self.shortcut = entry, main, shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Return the sums of spikes."""
        a = self.entry(x)
        out: Tensor = self.main(a) + self.shortcut(a)
        return out


def _conv(made: Parts, inputs: int, outputs: int, pool: bool) -> nn.Sequential:
    """Convolution 3x3, norm, max pool if asked for, neuron: the pool is of currents."""
    layers = conv_norm(made, inputs, outputs)
    if pool:
        layers["pool"] = nn.MaxPool2d(3, 2, 1)
    layers["lif"] = made.neuron()
    return nn.Sequential(layers)


def _chain(made: Parts, widths: Sequence[int], pools: str) -> nn.Sequential:
    """`_conv` through these widths, with a pool in each where `pools` has a "1"."""
    pairs = zip(widths[:-1], widths[1:], pools, strict=True)
    return nn.Sequential(*(_conv(made, a, b, pool == "1") for a, b, pool in pairs))


def first_embedding(made: Parts, form: str, inputs: int, outputs: int) -> Embedding:
    """Return the embedding of the images: to all of the map, a fourth or an eighth of its side."""
    half = outputs // 2
    main: tuple[Sequence[int], str]
    if form == "cifar":
        entry, main, stride = _chain(made, (inputs, half), "0"), ((half, outputs), "0"), 1
    elif form == "imagenet":
        entry = _chain(made, (inputs, half), "1")
        main, stride = ((half, outputs, outputs), "10"), 2
    else:
        entry = _chain(made, (inputs, outputs // 8, outputs // 4), "01")
        main, stride = ((outputs // 4, half, outputs), "11"), 4
    branch = outputs // 4 if form == "dvs" else half
    return Embedding(entry, _chain(made, *main), conv_norm_lif(made, branch, outputs, 1, stride))


def later_embedding(made: Parts, form: str, outputs: int) -> Embedding:
    """Return the embedding between two stages: twice the channels, half the side."""
    widths = (outputs // 2, outputs, outputs)
    main = _chain(made, widths, "10" if form == "imagenet" else "01")
    return Embedding(nn.Identity(), main, conv_norm_lif(made, outputs // 2, outputs, 1, 2))


class TokenAttention(nn.Module):
    """Q-K token attention: ``LIF(BN(W (A * k)))``, where A is one spike a token and head.

    ``A = LIF(sum of q over the channels of a head)`` with spikes ``q, k = LIF(BN(W x))``.

    Args:
        made: what it is built of.
        width: C.
        heads: how many masks a token has.
    """

    def __init__(self, made: AttentionParts, width: int, heads: int) -> None:
        """Make the layers."""
        super().__init__()
        self.q, self.k = (conv_norm_lif(made, width, width, 1) for _ in range(2))
        self.attn_lif = made.attention()
        self.proj = conv_norm_lif(made, width, width, 1, bias=True)
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        """One time step of the branch."""
        q = self.q(x).unflatten(1, (self.heads, -1))
        k = self.k(x).unflatten(1, (self.heads, -1))
        mask = self.attn_lif(q.sum(2))
        out: Tensor = self.proj((k * mask.unsqueeze(2)).flatten(1, 2))
        return out


class QKFormer(nn.Module):
    """Stages of an embedding and its blocks, mean over the map, linear head."""

    def __init__(self, made: AttentionParts, shape: QKFormerSize, drop_path: float) -> None:
        """Make the layers; weights are drawn by torch's defaults."""
        super().__init__()
        dropped = iter(shares(drop_path, sum(shape.depths)))
        stages = OrderedDict[str, nn.Module]()
        for number, (width, depth) in enumerate(zip(shape.widths, shape.depths, strict=True)):
            last = number == len(shape.depths) - 1
            stages[f"embed{number + 1}"] = (
                later_embedding(made, shape.form, width)
                if number
                else first_embedding(made, shape.form, shape.in_channels, width)
            )
            hidden = hidden_width("qkformer", width, shape.mlp_ratio)
            blocks = (
                Residual(
                    SelfAttention(made, width, shape.heads, 0.125)
                    if last
                    else TokenAttention(made, width, shape.heads),
                    SpikeMlp(made, width, hidden),
                    next(dropped),
                )
                for _ in range(depth)
            )
            stages[f"stage{number + 1}"] = nn.Sequential(*blocks)
        self.body = nn.Sequential(stages)
        self.head = nn.Linear(shape.dim, shape.num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """One time step, ``[B, C, H, W] -> [B, K]``."""
        logits: Tensor = self.head(self.body(x).mean((-2, -1)))
        return logits


def qkformer(
    *,
    size: str = "4-384",
    num_classes: int | None = None,
    in_channels: int | None = None,
    neuron: NeuronSettings | None = None,
    attention_threshold: float = 0.5,
    heads: int | None = None,
    mlp_ratio: float | None = None,
    drop_path: float = 0.0,
    neuron_over: str = "time",
) -> nn.Module:
    """QKFormer, "blocks-dim": 4-384 for CIFAR, two for events, 10-384, 10-512, 10-768 for 224^2.

    Any size of image runs. In the published code, all five copies, the last neuron of every
    self-attention runs over the T * B rows of the batch as over one sequence, so that a sample's
    potential leaks into the next one's, in training and in evaluation. Here it runs over time, as
    the paper says. The published behaviour has a name, ``neuron_over="rows"``, and is refused under
    it: no network for one time step can compute it, since its logits depend on which samples share
    a batch, and in which order. Published accuracies are those of that other network.

    `drop_path` does what its name says; the published code makes stochastic depth and never calls
    it, so the published recipes are ``drop_path=0``.

    Raises:
        OptionError: for an unknown size, heads that do not fit, and ``neuron_over="rows"``.
    """
    if neuron_over not in ROWS:
        raise OptionError.unknown("neuron_over of model 'qkformer':", neuron_over, ROWS)
    if neuron_over == "rows":
        raise OptionError(
            "neuron_over='rows' of model 'qkformer' is the published code's defect: the last "
            "neuron of the self-attention takes the T * B rows of a batch for T * B time steps of "
            "one sequence. No network for one time step can compute that, since a sample's output "
            "would depend on the samples before it. Legal: 'time'."
        )
    shape = chosen(
        "qkformer",
        SIZES,
        size,
        num_classes=num_classes,
        in_channels=in_channels,
        heads=heads,
        mlp_ratio=mlp_ratio,
    )
    refuse_heads("qkformer", shape.heads, shape.widths)
    return QKFormer(attention_parts(neuron, attention_threshold), shape, drop_path)
