"""What draws."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .base import of

for drop in ("dropout", "dropout1d", "alpha_dropout", "feature_alpha_dropout"):
    of(
        drop,
        lambda x, f=drop: getattr(F, f)(x, 0.5, training=True),
        lambda x, f=drop: getattr(F, f)(x, 0.5, training=False),
    )
of("dropout2d", lambda x: F.dropout2d(x, 0.5), shape=(9, 2, 2))
of("dropout3d", lambda x: F.dropout3d(x, 0.5), shape=(9, 1, 2, 2))
of(
    "dropout",
    lambda x: F.dropout(x),
    lambda x: F.dropout(x, 0.0),
    lambda x: F.dropout(x, p=0.3, training=True),
)
of("dropout", lambda x: torch.dropout(x, 0.5, train=True), lambda x: F.dropout(x, 0.5, False))
of("feature_dropout", lambda x: torch.feature_dropout(x, 0.5, True))
of("rrelu", lambda x: F.rrelu(x, training=True), lambda x: F.rrelu(x), nn.RReLU())
of("gumbel_softmax", lambda x: F.gumbel_softmax(x), lambda x: F.gumbel_softmax(x, dim=1))
for fill in (
    "bernoulli_",
    "uniform_",
    "normal_",
    "exponential_",
    "random_",
    "cauchy_",
    "log_normal_",
):
    of(fill, lambda x, fill=fill: x * getattr(torch.empty_like(x), fill)())
of("geometric_", lambda x: x * torch.empty_like(x).geometric_(0.5))
of("bernoulli_", lambda x: x * x.new_empty(x.shape[0], 1, 1).bernoulli_(0.5).div_(0.5))
of("bernoulli", lambda x: torch.bernoulli(x.sigmoid()))
of("poisson", lambda x: torch.poisson(x.abs()))
of("normal", lambda x: torch.normal(x, 1.0))
of("multinomial", lambda x: torch.multinomial(x[0].abs(), 2))
of("rand", lambda x: x + torch.rand(x.shape[0], 1, 4))
of("randn", lambda x: x + torch.randn(3, 4))
of("randint", lambda x: x + torch.randint(0, 900, x.shape))
of("randperm", lambda x: x[..., None] + torch.randperm(30))
of("rand_like", lambda x: x + torch.rand_like(x))
of("randn_like", lambda x: x + torch.randn_like(x))
of("randint_like", lambda x: x + torch.randint_like(x, 900))
