"""Which signals are small whole numbers, and that they are: values of what runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ratebp
from ratebp import LIF
from ratebp.graph import Count
from ratebp.wiring import trace

Between = Callable[["Net", Tensor, Tensor], Tensor]


class Net(nn.Module):
    """Two neurons, what is done to their spikes, and a synapse that takes the outcome."""

    def __init__(self, between: Between) -> None:
        super().__init__()
        self.between = between
        self.a, self.s = nn.Conv2d(2, 4, 3, padding=1), LIF(0.5, 0.2)
        self.b, self.t = nn.Conv2d(2, 4, 3, padding=1), LIF(0.5, 0.2)
        self.average, self.odd = nn.AvgPool2d(2), nn.AvgPool2d(3)
        self.pool, self.drop = nn.MaxPool2d(3, 2, 1), nn.Dropout(0.5)
        self.c = nn.LazyConv2d(3, 1)
        self.one = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.between(self, self.s(self.a(x)), self.t(self.b(x)))).mean((2, 3))


KNOWN: dict[str, tuple[Between, Count]] = {
    "spikes": (lambda _, s, t: s, Count(1)),
    "sum": (lambda _, s, t: s + t, Count(2)),
    "sum of sums": (lambda _, s, t: s + t + s, Count(3)),
    "product": (lambda _, s, t: (s + t) * t, Count(2)),
    "cat": (lambda _, s, t: torch.cat([s, t + s], 1), Count(2)),
    "max pool": (lambda net, s, t: net.pool(s + t), Count(2)),
    "moved": (lambda _, s, t: s.flatten(2).mT.transpose(1, 2).unflatten(2, (6, 6)), Count(1)),
    "part": (lambda _, s, t: (s + t)[:, 1:3], Count(2)),
    "chunk": (lambda _, s, t: s.chunk(2, 1)[1], Count(1)),
    "zeros around": (lambda _, s, t: F.pad(s, (1, 1, 1, 1)), Count(1)),
    "nearest": (lambda _, s, t: F.interpolate(s, scale_factor=2), Count(1)),
    "average": (lambda net, s, t: net.average(s), Count(4, 4)),
    "average of sums": (lambda net, s, t: net.average(s + t) + net.average(s), Count(12, 4)),
    "average twice": (lambda net, s, t: net.average(net.average(_around(s))), Count(16, 16)),
    "relu": (lambda _, s, t: (s + t).relu(), Count(2)),
}  # fmt: skip
UNKNOWN: dict[str, Between] = {
    "difference": lambda _, s, t: s - t,
    "multiple": lambda _, s, t: s * 0.5,
    "a parameter": lambda net, s, t: s + net.one,
    "current": lambda net, s, t: net.b(s[:, :2]) + s,
    "rounded average": lambda net, s, t: net.odd(s),
    "bilinear": lambda _, s, t: F.interpolate(s, scale_factor=2, mode="bilinear"),
    "ones around": lambda _, s, t: F.pad(s, (1, 1, 1, 1), value=0.5),
    "cat of parts": lambda net, s, t: torch.cat([net.average(s), t[..., :3, :3]], 1),
    "dropped": lambda net, s, t: net.drop(s),
    "mean": lambda _, s, t: s.mean(1, keepdim=True),
    "a sum with a factor": lambda _, s, t: torch.add(s, t, alpha=0.5),
    "in place": lambda _, s, t: s.clone().mul_(0.5),
    "in place on what moved": lambda _, s, t: _scaled(s),
    "indices": lambda net, s, t: F.max_pool2d(s, 2, return_indices=True)[1].to(s.dtype),
}


def _around(spikes: Tensor) -> Tensor:
    return F.pad(spikes, (1, 1, 1, 1))


def _scaled(spikes: Tensor) -> Tensor:
    spikes = spikes.clone()
    spikes[:, 0].mul_(0.3)
    return spikes


def net(between: Between) -> tuple[Net, Tensor]:
    torch.manual_seed(0)
    made, x = Net(between).double(), torch.randn(3, 2, 2, 6, 6).double()
    with torch.no_grad():
        spikes = torch.ones(1, 4, 6, 6).double()
        made.c(made.between(made, spikes, spikes))  # sizes of the lazy layer
    return made, x


@pytest.mark.parametrize("name", KNOWN)
def test_known_counts_are_what_arrives(name: str) -> None:
    between, count = KNOWN[name]
    made, x = net(between)
    assert trace(made).counts["c"] == count
    bound = ratebp.methods.get("bptt_s").bind(made, 3)
    seen: list[Tensor] = []
    leaf = bound.views(x)["net"].module.get_submodule("c")
    leaf.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach()))
    bound.step(x, torch.tensor([0, 1]))
    for each in seen:
        whole = each * count.parts
        assert torch.equal(whole, whole.round())
        assert 0 <= float(whole.min()) <= float(whole.max()) <= count.largest


@pytest.mark.parametrize("name", UNKNOWN)
def test_anything_else_is_not_said_to_be_whole(name: str) -> None:
    made, _ = net(UNKNOWN[name])
    assert "c" not in trace(made).counts


@pytest.mark.parametrize("name", [*KNOWN, *UNKNOWN])
@pytest.mark.parametrize("method", ["bptt_m", "bptt_s", "sltt"])
def test_gradients_are_those_of_the_loop(name: str, method: str) -> None:
    between = KNOWN[name][0] if name in KNOWN else UNKNOWN[name]
    made, x = net(between)
    for timesteps in (1, 3):
        found = ratebp.verify(made, method, x[:timesteps], torch.tensor([0, 1]))
        assert found.ok, str(found)


def test_counts_beyond_a_byte_are_kept_as_they_are() -> None:
    """Shortcuts that add spikes to spikes: 256 does not fit, 255 does."""

    def doubled(times: int, more: int) -> Between:
        def between(_: Net, s: Tensor, t: Tensor) -> Tensor:
            total = s
            for _ in range(times):
                total = total + total
            for _ in range(more):
                total = total + t
            return total

        return between

    for between, largest in ((doubled(7, 127), 255), (doubled(8, 0), 256)):
        made, x = net(between)
        assert trace(made).counts["c"] == Count(largest)
        found = ratebp.verify(made, "bptt_m", x, torch.tensor([0, 1]))
        assert found.outcome == "exact", str(found)
