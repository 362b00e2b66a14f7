"""Neurons over T time steps, readable against fast, forward and backward.

    pytest benchmarks/micro --benchmark-enable --benchmark-group-by=group

Each benchmark checks value and gradients against the readable version before it times anything.
Speed belongs here, never in a test.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from benchmarks.micro.races import BATCH, NEURONS, STEPS, race
from ratebp.dynamics import Dynamics
from ratebp.ops import (
    Normalised,
    RateState,
    Spikes,
    advance,
    affine,
    at_rest,
    lif_scan,
    lif_scan_of,
    lif_step,
    naive_lif_scan,
    naive_lif_step,
    pack,
    rate_scan,
    rate_step,
)
from ratebp.ops.alif import Adaptation, alif_scan, naive_alif_scan
from ratebp.ops.plif import naive_plif_scan, plif_scan
from ratebp.ops.psn import naive_psn, psn
from ratebp.surrogates import Surrogate

LIF = Dynamics()

Step = Callable[[Tensor, Tensor | None, Dynamics], tuple[Tensor, Tensor]]


def currents(timesteps: int) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(timesteps, BATCH, NEURONS)


@pytest.mark.parametrize("timesteps", STEPS)
@pytest.mark.parametrize("version", ["naive", "adjoint", "recomputed"])
def test_lif_scan(benchmark: BenchmarkFixture, version: str, timesteps: int) -> None:
    """`recomputed` has a norm and a residual of spikes before it, as in a residual block."""
    torch.manual_seed(0)
    shape = (timesteps, BATCH, 8, NEURONS // 8)
    xhat = torch.randn(shape).flatten(0, 1)
    residual = (torch.rand_like(xhat) < 0.2).float()
    weight, bias = torch.rand(8) + 0.5, torch.randn(8)
    terms = (Normalised(xhat, weight, bias), Spikes(pack(residual)))
    current = (affine(xhat, weight, bias) + residual).view(shape)
    versions: dict[str, Any] = {
        "naive": lambda c: naive_lif_scan(c, LIF),
        "adjoint": lambda c: lif_scan(c, LIF),
        "recomputed": lambda c: lif_scan_of(c, LIF, terms),
    }
    benchmark.group = f"lif_scan T={timesteps}"
    race(benchmark, versions[version], versions["naive"], current)


@pytest.mark.parametrize("timesteps", STEPS)
@pytest.mark.parametrize("version", ["naive", "adjoint"])
def test_lif_step(benchmark: BenchmarkFixture, version: str, timesteps: int) -> None:
    """Step by step without a gradient through time, as online methods run."""
    step = naive_lif_step if version == "naive" else lif_step

    def stepwise(current: Tensor, step: Step) -> Tensor:
        u: Tensor | None = None
        spikes = []
        for now in current.unbind(0):
            s, u = step(now, u, LIF)
            u = u.detach()
            spikes.append(s)
        return torch.stack(spikes)

    benchmark.group = f"lif_step T={timesteps}"
    race(
        benchmark,
        lambda c: stepwise(c, step),
        lambda c: stepwise(c, naive_lif_step),
        currents(timesteps),
    )


@pytest.mark.parametrize("timesteps", STEPS)
@pytest.mark.parametrize("version", ["naive", "in_place", "scan"])
def test_rate_statistics(benchmark: BenchmarkFixture, version: str, timesteps: int) -> None:
    """Rate-BP's spike pass: no graph; spikes, counts and eligibility."""
    current = currents(timesteps)

    def naive() -> RateState:
        state = None
        for now in current.unbind(0):
            _, state = rate_step(now, state, LIF)
        assert state is not None
        return state

    def in_place() -> RateState:
        state = at_rest(current[0], LIF, timesteps)
        for now in current.unbind(0):
            advance(now, state, LIF)
        return state

    def scan() -> RateState:
        _, count, eligibility = rate_scan(current, LIF, torch.float32)
        return naive_state._replace(spikes=count, eligibility=eligibility)

    naive_state = naive()
    chosen = {"naive": naive, "in_place": in_place, "scan": scan}[version]
    got = chosen()
    torch.testing.assert_close(got.spikes.float(), naive_state.spikes.float())
    torch.testing.assert_close(got.eligibility, naive_state.eligibility, rtol=1e-4, atol=1e-4)
    benchmark.group = f"rate statistics T={timesteps}"
    benchmark(chosen)


@pytest.mark.parametrize("timesteps", STEPS)
@pytest.mark.parametrize("version", [naive_plif_scan, plif_scan], ids=["naive", "adjoint"])
def test_plif_scan(benchmark: BenchmarkFixture, version: Any, timesteps: int) -> None:
    undecayed, share = Dynamics(1.0), torch.tensor(0.5)
    benchmark.group = f"plif_scan T={timesteps}"
    race(
        benchmark,
        lambda c: version(c, share, undecayed),
        lambda c: naive_plif_scan(c, share, undecayed),
        currents(timesteps),
    )


@pytest.mark.parametrize("timesteps", STEPS)
@pytest.mark.parametrize("version", [naive_alif_scan, alif_scan], ids=["naive", "adjoint"])
def test_alif_scan(benchmark: BenchmarkFixture, version: Any, timesteps: int) -> None:
    adaptation = Adaptation(0.2, 0.9)
    benchmark.group = f"alif_scan T={timesteps}"
    race(
        benchmark,
        lambda c: version(c, LIF, adaptation),
        lambda c: naive_alif_scan(c, LIF, adaptation),
        currents(timesteps),
    )


@pytest.mark.parametrize("timesteps", STEPS)
@pytest.mark.parametrize("version", [naive_psn, psn], ids=["naive", "gemm"])
def test_psn(benchmark: BenchmarkFixture, version: Any, timesteps: int) -> None:
    current = currents(timesteps)[..., : NEURONS // 8]  # the readable one adds T * T terms
    mixing, threshold = torch.randn(timesteps, timesteps), torch.ones(timesteps)
    surrogate = Surrogate()
    benchmark.group = f"psn T={timesteps}"
    race(
        benchmark,
        lambda c, m: version(c, m, threshold, surrogate),
        lambda c, m: naive_psn(c, m, threshold, surrogate),
        current,
        mixing,
        off=1e-2,  # a sum of 256 terms in another order moves a few spikes over the threshold
    )
