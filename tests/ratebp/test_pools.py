"""Pools that keep next to nothing: torch's values and gradients, to the bit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.utils.deterministic
from torch import Tensor, nn

import ratebp
from ratebp import LIF
from ratebp.ops.pool import Windows, avg_pool, max_pool, naive_avg_pool, naive_max_pool
from ratebp.roles import _ROLES, Role, register_role
from ratebp.rules.pools import LeanAvgPool, LeanMaxPool, lean_pool

SHAPES = [(2, 3, 7, 9), (3, 8, 8), (1, 1, 2, 2), (2, 4, 16, 5)]
WINDOWS = [
    Windows((2, 2), (2, 2), (0, 0), ceil_mode=False),
    Windows((3, 3), (2, 2), (1, 1), ceil_mode=False),
    Windows((3, 3), (1, 1), (1, 1), ceil_mode=False),
    Windows((2, 2), (2, 2), (0, 0), ceil_mode=True),
    Windows((3, 2), (2, 1), (1, 0), ceil_mode=True),
    Windows((1, 2), (3, 2), (0, 1), ceil_mode=False),
]


@pytest.fixture(autouse=True)
def poisoned_memory() -> Iterator[None]:
    """Fill every uninitialised tensor with NaN, so that an unwritten output cannot pass."""
    torch.use_deterministic_algorithms(True)
    assert torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.use_deterministic_algorithms(False)


def both(fast: Any, plain: Any, x: Tensor, *args: Any, **options: Any) -> list[list[Tensor]]:
    found = []
    for f in (fast, plain):
        own = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
        out = f(own, *args, **options)
        weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype)
        found.append([out.detach(), *torch.autograd.grad((out * weights).sum(), own)])
    return found


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("windows", WINDOWS, ids=str)
@pytest.mark.parametrize("spikes", [True, False], ids=["spikes", "currents"])
def test_maxima(windows: Windows, shape: tuple[int, ...], dtype: torch.dtype, spikes: bool) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    x = (x > 0.4).to(dtype) if spikes else x  # of equal ones the first has the gradient
    fast, plain = both(max_pool, naive_max_pool, x, windows)
    for got, want in zip(fast, plain, strict=True):
        assert got.dtype == want.dtype
        assert torch.equal(got, want)


@pytest.mark.parametrize("padding_counts", [True, False])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("windows", WINDOWS, ids=str)
def test_means(windows: Windows, shape: tuple[int, ...], padding_counts: bool) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    fast, plain = both(avg_pool, naive_avg_pool, x, windows, padding_counts=padding_counts)
    for got, want in zip(fast, plain, strict=True):
        assert torch.equal(got, want)


def test_memory_formats() -> None:
    x = torch.randn(2, 8, 6, 6).to(memory_format=torch.channels_last)
    for fast, plain in ((max_pool, naive_max_pool), (avg_pool, naive_avg_pool)):
        one, other = both(fast, plain, x, WINDOWS[1])
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
        assert one[0].is_contiguous(memory_format=torch.channels_last)


def kept(f: Any, x: Tensor) -> int:
    sizes: dict[int, int] = {}

    def note(t: Tensor) -> Tensor:
        sizes[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        f(x.clone().requires_grad_())
    return sum(sizes.values())


def test_a_byte_an_output_is_kept_or_nothing() -> None:
    x = torch.randn(2, 3, 8, 8)
    assert kept(lambda x: max_pool(x, WINDOWS[0]), x) == 2 * 3 * 4 * 4
    assert kept(lambda x: avg_pool(x, WINDOWS[0]), x) == 0


@pytest.mark.parametrize(
    ("pool", "lean"),
    [
        (nn.MaxPool2d(2), LeanMaxPool),
        (nn.MaxPool2d((3, 2), (2, 1), (1, 0), ceil_mode=True), LeanMaxPool),
        (nn.MaxPool2d(16), LeanMaxPool),
        (nn.MaxPool2d(17), nn.MaxPool2d),  # 289 places
        (nn.MaxPool2d(2, dilation=2), nn.MaxPool2d),
        (nn.MaxPool2d(2, return_indices=True), nn.MaxPool2d),
        (nn.AvgPool2d(2), LeanAvgPool),
        (nn.AvgPool2d(2, divisor_override=3), nn.AvgPool2d),
    ],
    ids=str,
)
def test_what_a_byte_cannot_say_stays_torchs(pool: nn.Module, lean: type[nn.Module]) -> None:
    plain = repr(pool)
    lean_pool(pool)
    assert type(pool) is lean
    assert repr(pool).partition("(")[2] == plain.partition("(")[2]


class Mine(nn.MaxPool2d):
    """A pool of a user's own."""


def test_views_have_lean_pools_and_the_model_its_own() -> None:
    model = nn.Sequential(
        *(nn.Conv2d(2, 4, 3, padding=1), LIF(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3), LIF()),
        *(Mine(2), nn.Flatten(), nn.Linear(4, 3)),
    )
    bound = ratebp.methods.get("bptt_m").bind(model, 2)
    tree = bound.views(torch.rand(2, 3, 2, 8, 8))["net"].module
    assert [type(tree[n]) for n in (2, 5)] == [LeanMaxPool, Mine]  # type: ignore[index]
    assert [type(model[n]) for n in (2, 5)] == [nn.MaxPool2d, Mine]


class TwoNames(nn.Module):
    """One pool under two names, and called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.s, self.b, self.t = (
            nn.Conv2d(2, 4, 1),
            LIF(0.5, 0.3),
            nn.Conv2d(4, 4, 1),
            LIF(),
        )
        self.pool = nn.MaxPool2d(2)
        self.again, self.head = self.pool, nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.t(self.b(self.pool(self.s(self.a(x)))))
        return self.head(self.again(spikes).flatten(1))


class Pooled(nn.Module):
    """A synapse of a user's own, with a pool inside."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool = nn.Conv2d(2, 4, 1), nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.conv(x))


@pytest.fixture
def pooled() -> Iterator[nn.Module]:
    register_role(Pooled, Role.SYNAPSE)
    yield nn.Sequential(Pooled(), LIF(0.5, 0.3), nn.Flatten(), nn.Linear(64, 3))
    del _ROLES[Pooled]


@pytest.mark.deep_but("bptt_m", "rate_m", "sltt")
@pytest.mark.parametrize("method", ratebp.methods.names())
def test_a_pool_may_have_two_names_or_stand_inside_a_synapse(
    method: str, pooled: nn.Module
) -> None:
    torch.manual_seed(0)
    for model in (TwoNames(), pooled):
        found = ratebp.verify(model, method, torch.rand(3, 2, 2, 8, 8), torch.tensor([0, 1]))
        assert found.ok, str(found)
