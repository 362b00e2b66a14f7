"""Operators, readable against fast, forward and backward, over T.

Each benchmark checks value and gradients against the readable version before it times anything.
Speed belongs here, never in a test.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor, nn

from ratebp.dynamics import Dynamics
from ratebp.ops import (
    geometry_of,
    lif_scan,
    naive_lif_scan,
    naive_norm_replay,
    naive_synapse,
    norm_replay,
    rate_step,
    synapse,
)

NEURONS = 4096
STEPS = [1, 4, 16, 64]


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def forward_and_backward(f: Callable[..., Tensor], *inputs: Tensor) -> list[Tensor]:
    leaves = [x.detach().requires_grad_() for x in inputs]
    out = f(*leaves)
    return [out.detach(), *torch.autograd.grad(out, leaves, torch.ones_like(out))]


def race(
    benchmark: BenchmarkFixture,
    chosen: Callable[..., Tensor],
    readable: Callable[..., Tensor],
    *inputs: Tensor,
) -> None:
    pairs = zip(forward_and_backward(chosen, *inputs), forward_and_backward(readable, *inputs),
                strict=True)  # fmt: skip
    for got, want in pairs:
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    benchmark(forward_and_backward, chosen, *inputs)


@pytest.mark.parametrize("timesteps", STEPS)
@pytest.mark.parametrize("version", [naive_lif_scan, lif_scan], ids=["naive", "adjoint"])
def test_lif_scan(benchmark: BenchmarkFixture, version: Any, timesteps: int) -> None:
    torch.manual_seed(0)
    current = torch.randn(timesteps, 8, NEURONS)
    dynamics = Dynamics()
    benchmark.group = f"lif_scan T={timesteps}"
    race(benchmark, lambda c: version(c, dynamics), lambda c: naive_lif_scan(c, dynamics), current)


@pytest.mark.parametrize("timesteps", STEPS)
def test_rate_step(benchmark: BenchmarkFixture, timesteps: int) -> None:
    torch.manual_seed(0)
    currents = torch.randn(timesteps, 8, NEURONS).unbind(0)
    dynamics = Dynamics()

    def sequence() -> Tensor:
        state = None
        for now in currents:
            _, state = rate_step(now, state, dynamics)
        assert state is not None
        return state.spikes

    rates = sequence() / timesteps
    torch.testing.assert_close(rates, lif_scan(torch.stack(currents), dynamics).mean(0))
    benchmark.group = f"rate_step T={timesteps}"
    benchmark(sequence)


@pytest.mark.parametrize("version", ["naive", "substituted"])
@pytest.mark.parametrize("layer", [nn.Linear(512, 512), nn.Conv2d(32, 32, 3, padding=1)],
                         ids=["linear", "conv"])  # fmt: skip
def test_synapse(benchmark: BenchmarkFixture, layer: Any, version: str) -> None:
    torch.manual_seed(0)
    x = torch.randn((64, 512) if isinstance(layer, nn.Linear) else (8, 32, 16, 16))
    trace = torch.rand_like(x)
    geometry = geometry_of(layer)
    assert geometry is not None

    def readable(x: Tensor) -> Tensor:
        return naive_synapse(layer, x, source=trace)

    def fast(x: Tensor) -> Tensor:
        return synapse(x, layer.weight, layer.bias, geometry, source=trace)

    benchmark.group = f"synapse {type(layer).__name__}"
    race(benchmark, readable if version == "naive" else fast, readable, x)


@pytest.mark.parametrize("version", ["naive", "closed_form"])
def test_norm_replay(benchmark: BenchmarkFixture, version: str) -> None:
    torch.manual_seed(0)
    c = torch.randn(32, 64, 16, 16)
    variance, mean = torch.var_mean(c, (0, 2, 3), correction=0)
    inv_std = torch.rsqrt(variance + 1e-5)
    xhat = (c - mean.view(1, -1, 1, 1)) * inv_std.view(1, -1, 1, 1)

    def readable(c: Tensor) -> Tensor:
        return naive_norm_replay(c, None, None, mean, variance, 1e-5)

    def fast(c: Tensor) -> Tensor:
        return norm_replay(c, None, None, xhat, inv_std)

    benchmark.group = "norm_replay"
    race(benchmark, readable if version == "naive" else fast, readable, c)
