"""What commutes with a factor."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .base import ROW, of

of(
    "relu",
    lambda x: F.relu(x),
    lambda x: x.relu(),
    nn.ReLU(),
    lambda x: F.relu(x.clone(), inplace=True),
    lambda x: F.relu(x.clone(), True),
)
of("relu", nn.ReLU(inplace=True), lambda x: x.clone().relu_())
of("leaky_relu", lambda x: F.leaky_relu(x, 0.1), nn.LeakyReLU(0.2))
of("prelu", lambda x: F.prelu(x, ROW[:3].abs()), nn.PReLU(), lambda x, y: F.prelu(x, y[0, :, 0]))
of("abs", lambda x: x.abs(), lambda x: abs(x))
of(
    "max",
    lambda x: x.max(1),
    lambda x: x.max(-1, True),
    lambda x, y: torch.max(x, y),
    lambda x: torch.max(x, ROW),
    lambda x: torch.max(x, dim=1)[1],
)
of("min", lambda x: x.min(dim=2, keepdim=True), lambda x, y: torch.min(x, other=y))
of("amax", lambda x: x.amax((1, 2)), lambda x: x.amax(-1, keepdim=True))
of("amin", lambda x: x.amin(1))
of("maximum", lambda x, y: torch.maximum(x, y), lambda x: torch.maximum(ROW, x))
of("minimum", lambda x, y: torch.minimum(x, y), lambda x: torch.minimum(x, ROW))
of("fmax", lambda x, y: torch.fmax(x, y))
of("fmin", lambda x, y: torch.fmin(x, y))
of(
    "sort",
    lambda x: x.sort(),
    lambda x: torch.sort(x, 1, descending=True),
    lambda x: x.sort(dim=1)[1],
)
of("topk", lambda x: x.topk(2), lambda x: x.topk(1, 1), lambda x: torch.topk(x, k=2, dim=-1))
of("median", lambda x: x.median(1), lambda x: x.median(dim=-1, keepdim=True))
of("nanmedian", lambda x: x.nanmedian(1))
of("mode", lambda x: x.mode(1))
of(
    "kthvalue",
    lambda x: x.kthvalue(2),
    lambda x: x.kthvalue(1, 1),
    lambda x: x.transpose(0, 1).kthvalue(1, 0, True),
)
of("cummax", lambda x: x.cummax(1))
of("cummin", lambda x: x.cummin(-1))
of(
    "norm",
    lambda x: x.norm(dim=1),
    lambda x: x.norm(2, 1),
    lambda x: torch.norm(x, 1, -1, True),
    lambda x: torch.linalg.vector_norm(x, dim=(1, 2)),
    lambda x: x.norm(0, 1),
)
of("norm", lambda x: torch.linalg.vector_norm(x, 0, 1), lambda x: torch.linalg.norm(x, dim=2))
of("hypot", lambda x, y: torch.hypot(x, y))
