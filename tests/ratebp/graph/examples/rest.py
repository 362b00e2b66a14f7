"""Changes in place, constants, and modules that need more than one line."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .base import ROW, Run, of

of("add", lambda x, y: x.clone().add_(y), lambda x: x.add_(1), lambda x, y: x.__iadd__(y))
of("mul", lambda x: x.mul_(2), lambda x, y: x.__imul__(y))
of("fill", lambda x: x.clone().fill_(2.0))
of("zero", lambda x: x.clone().zero_())
of("copy", lambda x, y: x.clone().copy_(y), lambda x: torch.zeros_like(x).copy_(x))


def _set(index: Any, value: Any = 1.0) -> Run:
    def run(x: Tensor) -> Tensor:
        x = x.clone()
        x[index] = value
        return x

    return run


def _set_zero_where_negative(x: Tensor) -> Tensor:
    x = x.clone()
    x[x < 0] = 0.0
    return x


def _set_another(x: Tensor, y: Tensor) -> Tensor:
    x = x.clone()
    x[:, 0] = y[:, 1]
    x[..., 1:3] = y[..., :1]
    return x


def _set_in_zeros(x: Tensor) -> Tensor:
    made = x.new_zeros(x.shape[0], 5, 4)
    made[:, 1:4] = x
    return made


of("setitem", _set((slice(None), 0)), _set((Ellipsis, 0), 0.0), _set((slice(None), 0), ROW))
of("setitem", _set_zero_where_negative, _set_another, _set_in_zeros)

of("zeros", lambda x: x + torch.zeros(x.shape[0], 3, 1))
of("ones", lambda x: x * torch.ones(3, 4))
of(
    "full",
    lambda x: x + torch.full((x.size(0), 1, 1), 0.5),
    lambda x: torch.full((2,), 3.0) + x[..., :2],
)
of("empty", lambda x: x + torch.empty(4).fill_(1.0))
of("arange", lambda x: x + torch.arange(4), lambda x: x + torch.arange(x.shape[1])[:, None])
of("linspace", lambda x: x * torch.linspace(0, 1, 4))
of("eye", lambda x: x @ torch.eye(4, dtype=x.dtype))
of("tensor", lambda x: x * torch.tensor(2.0))
of("scalar_tensor", lambda x: x * torch.scalar_tensor(2.0))
of("zeros_like", lambda x: x + torch.zeros_like(x))
of("ones_like", lambda x: x * torch.ones_like(x[:, :1]))
of("full_like", lambda x: x + torch.full_like(x, 2.0))
of("empty_like", lambda x: torch.empty_like(x).copy_(x))
for made in ("zeros", "ones", "empty"):
    of(
        f"new_{made}",
        lambda x, made=made: x + getattr(x, f"new_{made}")(x.shape[0], 1, 4).fill_(3.0),
    )
of("new_full", lambda x: x + x.new_full((x.shape[0], 1, 1), 0.1))
of("new_tensor", lambda x: x + x.new_tensor([1.0, 2.0, 3.0, 4.0]))
of("tril_indices", lambda x: x + torch.tril_indices(2, 2)[0, 0])
of("triu_indices", lambda x: x + torch.triu_indices(2, 2)[1, 0])
of("flatten", nn.Flatten(), nn.Flatten(0, 1))
of("unflatten", nn.Unflatten(2, (2, 2)))


class Looked(nn.Module):
    """Tokens of signs."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(2, 3)

    def forward(self, x: Tensor) -> Any:
        return self.table((x > 0).long())


class Attending(nn.Module):
    """torch's own attention, with the batch in front or behind."""

    def __init__(self, first: bool, dropout: float = 0.0) -> None:
        super().__init__()
        self.inside = nn.MultiheadAttention(4, 2, dropout, batch_first=first)
        self.first = first

    def forward(self, x: Tensor) -> Any:
        x = x if self.first else x.transpose(0, 1)
        return self.inside(x, x, x, need_weights=False)[0]


class Paired(nn.Module):
    """Modules of two signals."""

    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside = inside

    def forward(self, x: Tensor) -> Any:
        return self.inside(x, 2 * x + 1)


of("embedding", Looked())
of("MultiheadAttention", Attending(True), Attending(False), Attending(True, 0.5))
of("cosine_similarity", Paired(nn.CosineSimilarity(1)))
of("pairwise_distance", Paired(nn.PairwiseDistance()), Paired(nn.PairwiseDistance(keepdim=True)))
of("bilinear", Paired(nn.Bilinear(4, 4, 2)))
