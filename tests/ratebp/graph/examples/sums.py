"""Sums, means and pads."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .base import ROW, of

of(
    "add",
    lambda x, y: x + y,
    lambda x: x + 1,
    lambda x: 1 + x,
    lambda x: x + ROW,
    lambda x, y: torch.add(x, y, alpha=2),
)
of(
    "add",
    lambda x, y: x[:, :1] + y,
    lambda x, y: x.transpose(0, 1) + y.transpose(0, 1),
    lambda x: x + x,
)
of("sub", lambda x, y: x - y, lambda x: x - 2, lambda x: x.sub(ROW), lambda x, y: x.subtract(y))
of("rsub", lambda x: 1 - x, lambda x, y: torch.rsub(x, y))
of("neg", lambda x: -x, lambda x: x.negative())
of("pos", lambda x: +x)
of(
    "sum",
    lambda x: x.sum(1),
    lambda x: x.sum((-1, -2)),
    lambda x: x.sum(2, keepdim=True),
    lambda x: x.sum(axis=1),
)
of(
    "sum",
    lambda x: x.transpose(0, 1).sum(0),
    lambda x: x.movedim(0, 2).sum((0, 1), True),
    lambda x: x.sum(1, dtype=torch.int64),
)
of(
    "mean",
    lambda x: x.mean(1),
    lambda x: x.mean([1, 2], keepdim=True),
    lambda x: x.mean(-1, dtype=torch.float32),
)
of("mean", lambda x: torch.mean(x, axis=1, keepdims=True), lambda x: x.permute(1, 0, 2).mean(dim=0))
of("nansum", lambda x: x.nansum(1))
of("cumsum", lambda x: x.cumsum(1), lambda x: torch.cumsum(x, dim=-1))
of("diff", lambda x: x.diff(), lambda x: torch.diff(x, 1, 1), lambda x: torch.diff(x, n=2, dim=-1))
of("diff", lambda x: torch.diff(x, 1, 1, torch.ones(x.shape[0], 1, 4, dtype=x.dtype)))
of(
    "pad",
    lambda x: F.pad(x, (1, 2)),
    lambda x: F.pad(x, (1, 0, 0, 1), value=2.0),
    lambda x: F.pad(x, [1, 1], "reflect"),
)
of(
    "pad",
    lambda x: F.pad(x, (1, 1), mode="circular"),
    lambda x: F.pad(x, (1, 0), "constant", 3),
    lambda x: F.pad(x, (-1, 0)),
)
of(
    "pad",
    nn.ZeroPad1d(1),
    nn.ConstantPad1d(1, 2.0),
    nn.ReflectionPad1d(1),
    nn.ReplicationPad1d(1),
    nn.CircularPad1d(1),
)
of(
    "pad",
    nn.ZeroPad2d(1),
    nn.ConstantPad2d(1, 0.5),
    nn.ReflectionPad2d(1),
    nn.ReplicationPad2d(1),
    nn.CircularPad2d(1),
    shape=(2, 3, 3),
)
of(
    "pad",
    nn.ZeroPad3d(1),
    nn.ConstantPad3d(1, 0.5),
    nn.ReflectionPad3d(1),
    nn.ReplicationPad3d(1),
    nn.CircularPad3d(1),
    shape=(1, 3, 3, 3),
)
of(
    "interpolate",
    lambda x: F.interpolate(x, scale_factor=2),
    lambda x: F.interpolate(x, size=(3, 3), mode="bilinear"),
    nn.Upsample(scale_factor=2),
    nn.UpsamplingNearest2d(scale_factor=2),
    nn.UpsamplingBilinear2d(scale_factor=2),
    shape=(2, 2, 2),
)
of("deg2rad", lambda x: torch.deg2rad(x))
of("rad2deg", lambda x: x.rad2deg())
for n in (1, 2, 3):
    space = (2, *(4,) * n)
    for kind in ("avg", "max", "lp"):
        name = f"{kind}_pool{n}d"
        if name == "lp_pool3d":
            of(name, lambda x: F.lp_pool3d(x, 2, 2), nn.LPPool3d(2, 2), shape=space)
            continue
        size = (2, 2) if kind == "lp" else (2,)
        made = {"avg": "AvgPool", "max": "MaxPool", "lp": "LPPool"}[kind]
        of(
            name,
            lambda x, f=name, size=size: getattr(F, f)(x, *size),
            getattr(nn, f"{made}{n}d")(*size),
            shape=space,
        )
    of(f"max_pool{n}d", getattr(nn, f"MaxPool{n}d")(2, return_indices=True), shape=space)
    for kind, made in (("avg", "AdaptiveAvgPool"), ("max", "AdaptiveMaxPool")):
        name = f"adaptive_{kind}_pool{n}d"
        of(name, lambda x, f=name: getattr(F, f)(x, 2), getattr(nn, f"{made}{n}d")(1), shape=space)
of("max_pool2d", lambda x: F.max_pool2d(x, 2, return_indices=True), shape=(2, 4, 4))
