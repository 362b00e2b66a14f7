"""Tokens and attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ratebp.testing.zoo.base import CLASSES, Net, lif, network


@network(5, 4)
def tokens() -> nn.Module:
    """Tokens [B, N, C] through linear layers, mean over tokens."""

    def forward(s: Any, x: Tensor) -> Any:
        return s.f2(s.l1(s.f1(s.l0(s.f0(x)))).mean(1))

    return Net(
        forward,
        f0=nn.Linear(4, 6),
        l0=lif(),
        f1=nn.Linear(6, 6),
        l1=lif(),
        f2=nn.Linear(6, CLASSES),
    )


@network(5, 4)
def tokens_mixed() -> nn.Module:
    """Synapses along tokens and along features (an MLP mixer)."""

    def forward(s: Any, x: Tensor) -> Any:
        a = s.l0(s.f0(x))
        b = s.l1(s.mix(a.transpose(1, 2)).transpose(1, 2))
        return s.f2((a + b).mean(1))

    return Net(
        forward,
        f0=nn.Linear(4, 6),
        l0=lif(),
        mix=nn.Linear(5, 5),
        l1=lif(),
        f2=nn.Linear(6, CLASSES),
    )


@network(5, 4)
def tokens_first() -> nn.Module:
    """A neuron that sees tokens before the batch, transpose(0, 1)."""

    def forward(s: Any, x: Tensor) -> Any:
        return s.f2(s.l1(s.f1(s.l0(s.f0(x)).transpose(0, 1))).mean(0))

    return Net(
        forward,
        f0=nn.Linear(4, 6),
        l0=lif(),
        f1=nn.Linear(6, 6),
        l1=lif(),
        f2=nn.Linear(6, CLASSES),
    )


@network(5, 4)
def batch_into_tokens() -> nn.Module:
    """Batch and tokens folded into one dimension, and unfolded again."""

    def forward(s: Any, x: Tensor) -> Any:
        b, n, c = x.shape
        a = s.l0(s.f0(x.reshape(b * n, c)))
        return s.f2(s.l1(s.f1(a)).reshape(b, n, -1).mean(1))

    return Net(
        forward,
        f0=nn.Linear(4, 6),
        l0=lif(),
        f1=nn.Linear(6, 6),
        l1=lif(),
        f2=nn.Linear(6, CLASSES),
    )


Mixing = Callable[[Any, Tensor, Tensor, Tensor], Any]


def _attention(mix: Mixing) -> nn.Module:
    def forward(s: Any, x: Tensor) -> Any:
        a = s.l0(s.f0(x))
        q = s.lq(s.bq(s.q(a).transpose(1, 2)).transpose(1, 2))
        k, v = s.lk(s.k(a)), s.lv(s.v(a))
        a = a + s.lp(s.p(s.lo(mix(s, q, k, v))))
        return s.f2(a.mean(1))

    parts = {name: nn.Linear(6, 6, bias=False) for name in ("q", "k", "v", "p")}
    neurons = {name: lif(threshold=0.2) for name in ("lq", "lk", "lv", "lo", "lp")}
    return Net(
        forward,
        f0=nn.Linear(4, 6),
        l0=lif(),
        bq=nn.BatchNorm1d(6),
        **parts,
        **neurons,
        f2=nn.Linear(6, CLASSES),
    )


def _heads(x: Tensor) -> Any:
    return x.unflatten(-1, (2, 3)).transpose(1, 2)


@network(5, 4)
def spikformer() -> nn.Module:
    """Spiking self-attention of two heads, (q @ k.T) @ v * scale."""

    def mix(s: Any, q: Tensor, k: Tensor, v: Tensor) -> Any:
        q, k, v = _heads(q), _heads(k), _heads(v)
        y = (q @ k.transpose(-2, -1)) @ v * 0.4
        return y.transpose(1, 2).flatten(2)

    return _attention(mix)


@network(5, 4)
def linear_attention() -> nn.Module:
    """The same in the other order, q @ (k.T @ v)."""

    def mix(s: Any, q: Tensor, k: Tensor, v: Tensor) -> Any:
        return torch.matmul(q, torch.matmul(k.transpose(1, 2), v)) * 0.3

    return _attention(mix)


@network(5, 4)
def spike_driven_attention() -> nn.Module:
    """Mask and add (SDT): q * (k * v).sum over tokens."""
    return _attention(lambda s, q, k, v: q * (k * v).sum(1, keepdim=True))


@network(5, 4)
def token_attention() -> nn.Module:
    """QKFormer: a sum of q over channels masks k; v is added."""
    return _attention(lambda s, q, k, v: q.sum(-1, keepdim=True) * k * 0.5 + v)


@network(5, 4)
def einsum_attention() -> nn.Module:
    """Attention written with torch.einsum."""

    def mix(s: Any, q: Tensor, k: Tensor, v: Tensor) -> Any:
        return torch.einsum("bnm,bmc->bnc", torch.einsum("bnc,bmc->bnm", q, k), v) * 0.3

    return _attention(mix)


@network(5, 4)
def softmax_attention() -> nn.Module:
    """Softmax attention of spikes."""

    def mix(s: Any, q: Tensor, k: Tensor, v: Tensor) -> Any:
        return (q @ k.transpose(-2, -1) / 6**0.5).softmax(-1) @ v

    return _attention(mix)


@network(5, 4)
def fused_attention() -> nn.Module:
    """F.scaled_dot_product_attention."""
    return _attention(lambda s, q, k, v: F.scaled_dot_product_attention(q, k, v))


@network(5, 4)
def batched_matmul() -> nn.Module:
    """torch.bmm and baddbmm."""

    def mix(s: Any, q: Tensor, k: Tensor, v: Tensor) -> Any:
        return torch.baddbmm(v, torch.bmm(q, k.transpose(1, 2)), v, alpha=0.3)

    return _attention(mix)


@network(5, 4)
def attention_module() -> nn.Module:
    """nn.MultiheadAttention, which reads out_proj.weight and never calls it."""

    def forward(s: Any, x: Tensor) -> Any:
        a = s.l0(s.f0(x))
        return s.f2(s.l1(s.mha(a, a, a, need_weights=False)[0]).mean(1))

    return Net(
        forward,
        f0=nn.Linear(4, 6),
        l0=lif(),
        mha=nn.MultiheadAttention(6, 2, batch_first=True),
        l1=lif(threshold=0.1),
        f2=nn.Linear(6, CLASSES),
    )


@network(5, 4)
def class_token() -> nn.Module:
    """A learned class token in front, read at the end."""

    def forward(s: Any, x: Tensor) -> Any:
        first = s.token.expand(x.shape[0], -1, -1)
        a = s.l0(s.f0(torch.cat([first, x], 1)))
        a = a + s.l1(s.mix(a.transpose(1, 2)).transpose(1, 2))
        return s.f2(a[:, 0])

    return Net(
        forward,
        token=nn.Parameter(torch.randn(1, 1, 4)),
        f0=nn.Linear(4, 6),
        l0=lif(),
        mix=nn.Linear(6, 6),
        l1=lif(),
        f2=nn.Linear(6, CLASSES),
    )


@network(5, 4)
def encoder_layer() -> nn.Module:
    """nn.TransformerEncoderLayer between neurons, without dropout."""

    def forward(s: Any, x: Tensor) -> Any:
        return s.f2(s.l1(s.layer(s.l0(s.f0(x)))).mean(1))

    return Net(
        forward,
        f0=nn.Linear(4, 6),
        l0=lif(),
        layer=nn.TransformerEncoderLayer(6, 2, 8, dropout=0.0, batch_first=True),
        l1=lif(),
        f2=nn.Linear(6, CLASSES),
    )


@network(5, 4)
def gru_over_tokens() -> nn.Module:
    """nn.GRU over tokens, between two neurons."""

    def forward(s: Any, x: Tensor) -> Any:
        return s.f2(s.l1(2 * s.gru(s.l0(s.f0(x)))[0]).mean(1))

    return Net(
        forward,
        f0=nn.Linear(4, 6),
        l0=lif(),
        gru=nn.GRU(6, 6, batch_first=True),
        l1=lif(threshold=0.1),
        f2=nn.Linear(6, CLASSES),
    )
