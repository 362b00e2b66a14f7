"""Parts that spiking transformers share, on maps ``[B, C, H, W]`` from the first layer to the last.

A token is a place of the map, so a linear layer over tokens is a 1x1 convolution, and batch norm
over tokens is batch norm over the map: the same functions as in the published code, which switches
between ``[B, C, H, W]``, ``[B, C, N]`` and ``[B, N, C]``. No size is carried from before a neuron
to behind it, so that methods can split the forward at every neuron.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ratebp import neurons
from ratebp.errors import OptionError
from ratebp.models.blocks import NeuronSettings, Parts, conv_norm, conv_norm_lif

PUBLISHED_NEURON: NeuronSettings = {
    "decay": 0.5,
    "threshold": 2.0,
    "reset": "hard",
    "surrogate": "sigmoid",
    "alpha": 2.0,
}
"""tau = 2 with a current of half the input, threshold 1, written without the factor of a half."""

Size = TypeVar("Size")


@dataclass(frozen=True)
class AttentionParts(Parts):
    """Parts of a transformer: the neuron behind a product of signals has a threshold of its own.

    Args:
        attention_threshold: that threshold, as a multiple of the others'.
    """

    attention_threshold: float = 0.5

    def attention(self) -> nn.Module:
        """A neuron behind an attention product."""
        settings = dict(self.neuron_settings)
        settings["threshold"] = self.attention_threshold * neurons.threshold(settings)
        return replace(self, neuron_settings=settings).neuron()


def attention_parts(neuron: NeuronSettings | None, attention_threshold: float) -> AttentionParts:
    """The parts of a transformer with these options; without settings, the published neuron."""
    settings = PUBLISHED_NEURON if neuron is None else neuron
    return AttentionParts(settings, attention_threshold=attention_threshold)


def chosen(model: str, sizes: Mapping[str, Size], size: str, **options: Any) -> Size:
    """Return what `size` stands for, with every option that is given in place of the size's own.

    Args:
        model: the network's name, for messages.
        sizes: dataclasses by name.
        size: one of those names.
        **options: fields of the dataclass; None means the size's own.

    Raises:
        OptionError: for an unknown size.
    """
    if size not in sizes:
        raise OptionError.unknown(f"size of model {model!r}:", size, sizes)
    given = {name: value for name, value in options.items() if value is not None}
    changed: Size = replace(sizes[size], **given)  # type: ignore[type-var]
    return changed


class DropPath(nn.Module):
    """Stochastic depth: a whole branch of a sample is dropped, with one draw a sequence."""

    def __init__(self, share: float) -> None:
        """Drop a `share` of the branches in training."""
        super().__init__()
        self.dropout = nn.Dropout1d(share)  # which drops whole channels: here there is one

    def forward(self, x: Tensor) -> Tensor:
        """Return the branch ``[B, ...]``, times 0 or ``1 / (1 - share)``."""
        kept: Tensor = self.dropout(x.flatten(1).unsqueeze(1)).reshape(x.shape)
        return kept


def split_heads(x: Tensor, heads: int) -> Tensor:
    """Return a map ``[B, C, H, W]`` as ``[B, heads, C / heads, N]``, N = H * W."""
    split: Tensor = x.flatten(2).unflatten(1, (heads, -1))
    return split


def refuse_heads(model: str, heads: int, widths: Sequence[int]) -> None:
    """Raise OptionError where `heads` do not divide every one of `widths`."""
    legal = [n for n in range(1, min(widths) + 1) if all(width % n == 0 for width in widths)]
    if heads not in legal:
        raise OptionError(
            f"heads of model {model!r} is {heads}, which does not divide the widths "
            f"{', '.join(map(str, widths))}. Legal: {', '.join(map(str, legal))}."
        )


def hidden_width(model: str, width: int, ratio: float) -> int:
    """Return ``width * ratio``.

    Raises:
        OptionError: where that is no whole number of at least 1.
    """
    hidden = width * ratio
    if hidden < 1 or hidden != round(hidden):
        raise OptionError(
            f"mlp_ratio of model {model!r} is {ratio}, which makes {hidden} hidden channels of "
            f"{width}. Legal: a ratio that gives whole numbers, such as 4."
        )
    return round(hidden)


class SelfAttention(nn.Module):
    """Spiking self-attention without softmax: ``LIF(BN(W LIF(c Q K^T V)))``, map to map.

    ``Q = LIF(BN(W_q x))``, K and V alike, are spikes. The product is associative, so its order
    changes the cost alone.

    Args:
        made: what it is built of.
        width: C.
        heads: how many products there are, each of C / heads channels.
        scale: c.
        bias: whether q, k and v have biases.
        keys_first: whether ``K^T V`` is computed first, else ``Q K^T``.
    """

    def __init__(
        self,
        made: AttentionParts,
        width: int,
        heads: int,
        scale: float,
        *,
        bias: bool = False,
        keys_first: bool = True,
    ) -> None:
        """Make the layers."""
        super().__init__()
        self.q, self.k, self.v = (conv_norm_lif(made, width, width, 1, bias=bias) for _ in range(3))
        self.attn_lif = made.attention()
        self.proj = conv_norm_lif(made, width, width, 1, bias=True)
        self.heads, self.scale, self.keys_first = heads, scale, keys_first

    def forward(self, x: Tensor) -> Tensor:
        """One time step of the branch."""
        q, k, v = self.q(x), self.k(x), self.v(x)
        y = attend(q, k, v, self.heads, self.scale, keys_first=self.keys_first)
        out: Tensor = self.proj(self.attn_lif(y))
        return out


def attend(
    q: Tensor, k: Tensor, v: Tensor, heads: int, scale: float, *, keys_first: bool
) -> Tensor:
    """Return ``scale * Q K^T V`` of each head, in the shape of `v`.

    Args:
        q: queries, a map ``[B, C, H, W]``.
        k: keys, the same shape.
        v: values, a map of as many places; its channels may be others.
        heads: which split the channels.
        scale: of the product.
        keys_first: whether ``K^T V`` is computed first.
    """
    queries, keys, values = (split_heads(each, heads) for each in (q, k, v))
    if keys_first:
        y = torch.matmul(torch.matmul(values, keys.transpose(-2, -1)), queries) * scale
    else:
        pairs = torch.matmul(queries.transpose(-2, -1), keys) * scale
        y = torch.matmul(values, pairs.transpose(-2, -1))
    out: Tensor = y.flatten(1, 2).reshape(v.shape)
    return out


class SpikeMlp(nn.Sequential):
    """``LIF(BN(W2 LIF(BN(W1 x))))``, whose output adds spikes to the shortcut."""

    def __init__(self, made: Parts, width: int, hidden: int) -> None:
        """Make the layers; both convolutions have biases."""
        super().__init__()
        self.fc1 = conv_norm_lif(made, width, hidden, 1, bias=True)
        self.fc2 = conv_norm_lif(made, hidden, width, 1, bias=True)


class CurrentMlp(nn.Sequential):
    """``BN(W2 LIF(BN(W1 LIF(x))))``, whose output adds currents to the shortcut."""

    def __init__(self, made: Parts, width: int, hidden: int) -> None:
        """Make the layers; both convolutions have biases."""
        super().__init__()
        self.fc1 = lif_conv_norm(made, width, hidden, 1, bias=True)
        self.fc2 = lif_conv_norm(made, hidden, width, 1, bias=True)


def lif_conv_norm(
    made: Parts, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, bias: bool = False
) -> nn.Sequential:
    """Neuron, convolution, norm."""
    layers = conv_norm(made, inputs, outputs, kernel, stride, bias)
    chain = nn.Sequential()
    chain.add_module("lif", made.neuron())
    for name, layer in layers.items():
        chain.add_module(name, layer)
    return chain


class Residual(nn.Module):
    """``x + attn(x)``, then ``x + mlp(x)``; either branch may be dropped.

    Args:
        attn: the first branch.
        mlp: the second.
        share: of samples whose branch is dropped in training.
    """

    def __init__(self, attn: nn.Module, mlp: nn.Module, share: float = 0.0) -> None:
        """Keep the branches."""
        super().__init__()
        self.attn, self.mlp = attn, mlp
        self.drop1, self.drop2 = (DropPath(share) if share else nn.Identity() for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """One time step of the block."""
        x = x + self.drop1(self.attn(x))
        out: Tensor = x + self.drop2(self.mlp(x))
        return out


def shares(drop_path: float, blocks: int) -> list[float]:
    """Return the share of dropped branches of each block: 0 at the first, rising to the last."""
    return [drop_path * number / max(blocks - 1, 1) for number in range(blocks)]


def draw_truncated(*layers: nn.Module) -> None:
    """Draw the weights of synapses in `layers` from a truncated N(0, 0.02^2); biases become 0."""
    for layer in layers:
        for module in layer.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                # A hundred deviations away nothing is cut: torch's truncated draw, which reads
                # values and so cannot run on fake tensors, would be another way to draw the same.
                nn.init.normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
