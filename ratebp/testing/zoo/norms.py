"""Norms: of the batch, of each sample, with parameters of each step, frozen, and by hand."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from ratebp.norms import BNTT, TEBN
from ratebp.testing.zoo.base import CLASSES, Net, lif, network


def _with(norm: nn.Module) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        lif(),
        nn.Conv2d(4, 4, 3, padding=1),
        norm,
        lif(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, CLASSES),
    )


@network(2, 5, 5)
def layer_norm() -> nn.Module:
    """LayerNorm over a map."""
    return _with(nn.LayerNorm([4, 5, 5]))


@network(2, 5, 5)
def group_norm() -> nn.Module:
    """GroupNorm."""
    return _with(nn.GroupNorm(2, 4))


@network(2, 5, 5)
def instance_norm() -> nn.Module:
    """InstanceNorm with parameters and without running statistics."""
    return _with(nn.InstanceNorm2d(4, affine=True))


@network(2, 5, 5)
def instance_norm_running() -> nn.Module:
    """InstanceNorm with running statistics."""
    return _with(nn.InstanceNorm2d(4, affine=True, track_running_stats=True))


@network(5)
def rms_norm() -> nn.Module:
    """RMSNorm."""
    return nn.Sequential(
        nn.Linear(5, 7), lif(), nn.Linear(7, 6), nn.RMSNorm(6), lif(), nn.Linear(6, CLASSES)
    )


@network(2, 5, 5)
def batch_norm_frozen() -> nn.Module:
    """A batch norm that stays in eval mode."""

    class Frozen(nn.BatchNorm2d):
        def train(self, mode: bool = True) -> Frozen:
            return super().train(False)

    return _with(Frozen(4))


@network(2, 5, 5)
def batch_norm_without_statistics() -> nn.Module:
    """A batch norm that keeps no running statistics."""
    return _with(nn.BatchNorm2d(4, track_running_stats=False))


@network(2, 5, 5)
def batch_norm_average() -> nn.Module:
    """A batch norm whose running statistics are the plain average (momentum=None)."""
    return _with(nn.BatchNorm2d(4, momentum=None))


@network(2, 5, 5)
def tebn(timesteps: int) -> nn.Module:
    """Temporal effective batch norm."""
    return _with(TEBN(4, timesteps))


@network(2, 5, 5)
def bntt(timesteps: int) -> nn.Module:
    """Batch norm through time."""
    return _with(BNTT(4, timesteps))


@network(2, 5, 5)
def norm_twice() -> nn.Module:
    """One batch norm called at two places."""

    def forward(s: Any, x: Tensor) -> Any:
        a = s.l0(s.b(s.c0(x)))
        return s.fc(s.l1(s.b(s.c1(a))).mean((2, 3)))

    return Net(
        forward,
        c0=nn.Conv2d(2, 4, 3, padding=1),
        c1=nn.Conv2d(4, 4, 3, padding=1),
        b=nn.BatchNorm2d(4),
        l0=lif(),
        l1=lif(),
        fc=nn.Linear(4, CLASSES),
    )


@network(2, 5, 5)
def norm_of_a_sum() -> nn.Module:
    """A batch norm over the sum of two branches, and one without a neuron behind."""

    def forward(s: Any, x: Tensor) -> Any:
        a = s.l0(s.c0(x))
        return s.fc(s.b1(s.l1(s.b0(s.c1(a) + s.c2(a)))).mean((2, 3)))

    return Net(
        forward,
        c0=nn.Conv2d(2, 4, 3, padding=1),
        l0=lif(),
        c1=nn.Conv2d(4, 4, 3, padding=1),
        c2=nn.Conv2d(4, 4, 1),
        b0=nn.BatchNorm2d(4),
        l1=lif(),
        b1=nn.BatchNorm2d(4),
        fc=nn.Linear(4, CLASSES),
    )


@network(5)
def statistics_by_hand() -> nn.Module:
    """Batch statistics written out, x - x.mean(0)."""

    def forward(s: Any, x: Tensor) -> Any:
        c = s.f1(s.l0(s.f0(x)))
        return s.f2(s.l1((c - c.mean(0)) / (c.std(0) + 0.1)))

    return Net(
        forward,
        f0=nn.Linear(5, 7),
        l0=lif(),
        f1=nn.Linear(7, 6),
        l1=lif(),
        f2=nn.Linear(6, CLASSES),
    )


@network(5)
def functional_batch_norm() -> nn.Module:
    """F.batch_norm with batch statistics and no module."""

    def forward(s: Any, x: Tensor) -> Any:
        c = F.batch_norm(s.f1(s.l0(s.f0(x))), None, None, training=True)
        return s.f2(s.l1(c))

    return Net(
        forward,
        f0=nn.Linear(5, 7),
        l0=lif(),
        f1=nn.Linear(7, 6),
        l1=lif(),
        f2=nn.Linear(6, CLASSES),
    )


@network(5)
def functional_layer_norm() -> nn.Module:
    """F.layer_norm and F.normalize, of each sample."""

    def forward(s: Any, x: Tensor) -> Any:
        c = F.layer_norm(s.f1(s.l0(s.f0(x))), (6,))
        return F.normalize(s.f2(s.l1(c)), dim=-1)

    return Net(
        forward,
        f0=nn.Linear(5, 7),
        l0=lif(),
        f1=nn.Linear(7, 6),
        l1=lif(),
        f2=nn.Linear(6, CLASSES),
    )


@network(2, 5, 5)
def local_response_norm() -> nn.Module:
    """LocalResponseNorm, which has no parameters."""
    return _with(nn.LocalResponseNorm(2))
