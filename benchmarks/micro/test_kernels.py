"""The kernels against the readable versions and torch's path, over T: Triton's, or a CPU's in C++.

Each benchmark checks values and gradients against the readable version before it times anything,
and waits for the device at the end of every round. Bytes per second follow from the README of each
operator.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from ratebp.dynamics import Dynamics
from ratebp.ops import (
    Normalised,
    affine,
    backend,
    batch_norm,
    cpp,
    lif_scan,
    lif_scan_of,
    lif_step,
    naive_lif_scan,
    naive_pack,
    naive_unpack,
    pack,
    rate_scan,
    rate_step,
    unpack,
    using,
)
from ratebp.ops.batch_norm.fused import batch_norm_backward

ON_GPU = torch.cuda.is_available()
DEVICE, KERNELS = ("cuda", "triton") if ON_GPU else ("cpu", "cpp")

pytestmark = [
    pytest.mark.skipif(
        ON_GPU and importlib.util.find_spec("triton") is None,
        reason="triton is not installed (pip install 'ratebp[triton]')",
    ),
    pytest.mark.skipif(not ON_GPU and bool(cpp.missing()), reason=cpp.missing()),
]

STEPS = [1, 4, 16, 64, 256]
BATCH, CHANNELS, SIDE = 32 if ON_GPU else 4, 64, 16  # 524,288 neurons, or 65,536
Work = Callable[..., Tensor | Sequence[Tensor]]


def sequence(timesteps: int) -> Tensor:
    torch.manual_seed(0)
    return 2 * torch.randn(timesteps, BATCH, CHANNELS, SIDE, SIDE, device=DEVICE)


def results(work: Work, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Run `work` forward and, where its results have a graph, backward."""
    leaves = [x.detach().requires_grad_() for x in inputs]
    out = work(*leaves)
    outs = [out] if isinstance(out, Tensor) else list(out)
    graph = [o for o in outs if o.requires_grad]
    ones = [torch.ones_like(o) for o in graph]
    grads = torch.autograd.grad(graph, leaves, ones, allow_unused=True) if graph else ()
    return [o.detach() for o in outs] + [g for g in grads if g is not None]


def race(
    benchmark: BenchmarkFixture, version: str, fast: Work, readable: Work, *inputs: Tensor
) -> None:
    """Check `fast` on both backends against `readable`, then time the `version` asked for."""
    with using("torch"):
        want = results(readable, inputs)
    for each in ("torch", KERNELS):
        with using(each):
            for got, expected in zip(results(fast, inputs), want, strict=True):
                torch.testing.assert_close(got.to(expected.dtype), expected, rtol=1e-4, atol=1e-4)
    work = readable if version == "naive" else fast
    with using(KERNELS if version == KERNELS else "torch"):
        benchmark.extra_info["backend"] = backend(DEVICE)

        def timed() -> None:
            results(work, inputs)
            if ON_GPU:
                torch.cuda.synchronize()

        timed()
        benchmark(timed)


versions = pytest.mark.parametrize("version", ["naive", "torch", KERNELS])
over_time = pytest.mark.parametrize("timesteps", STEPS)


@versions
@over_time
def test_lif_scan(benchmark: BenchmarkFixture, version: str, timesteps: int) -> None:
    dynamics = Dynamics()
    benchmark.group = f"lif_scan T={timesteps}"
    race(
        benchmark,
        version,
        lambda c: lif_scan(c, dynamics),
        lambda c: naive_lif_scan(c, dynamics),
        sequence(timesteps),
    )


@versions
@over_time
def test_lif_scan_of(benchmark: BenchmarkFixture, version: str, timesteps: int) -> None:
    dynamics = Dynamics()
    xhat = sequence(timesteps).flatten(0, 1)
    weight, bias = torch.ones(CHANNELS, device=DEVICE), torch.zeros(CHANNELS, device=DEVICE)
    current = affine(xhat, weight, bias).unflatten(0, (timesteps, BATCH))
    terms = (Normalised(xhat, weight, bias),)
    benchmark.group = f"lif_scan_of T={timesteps}"
    race(
        benchmark,
        version,
        lambda c: lif_scan_of(c, dynamics, terms),
        lambda c: naive_lif_scan(c, dynamics),
        current,
    )


def readable_rate(current: Tensor, dynamics: Dynamics) -> list[Tensor]:
    state, spikes = None, []
    for now in current.detach().unbind(0):
        s, state = rate_step(now, state, dynamics)
        spikes.append(s)
    assert state is not None
    return [torch.stack(spikes), state.spikes, state.eligibility]


@versions
@over_time
def test_rate_scan(benchmark: BenchmarkFixture, version: str, timesteps: int) -> None:
    dynamics = Dynamics()
    benchmark.group = f"rate_scan T={timesteps}"
    race(
        benchmark,
        version,
        lambda c: rate_scan(c.detach(), dynamics, torch.uint8),
        lambda c: readable_rate(c, dynamics),
        sequence(timesteps),
    )


@pytest.mark.skipif(not ON_GPU, reason="a CPU has no kernels for a single step")
@versions
def test_lif_step(benchmark: BenchmarkFixture, version: str) -> None:
    dynamics = Dynamics()
    current, last = sequence(2).unbind(0)

    def step(c: Tensor) -> Sequence[Tensor]:
        return lif_step(c, last, dynamics)

    benchmark.group = "lif_step"
    race(benchmark, version, step, step, current)


@versions
@over_time
def test_bits(benchmark: BenchmarkFixture, version: str, timesteps: int) -> None:
    spikes = (sequence(timesteps) > 1).float()

    def there_and_back(x: Tensor) -> Tensor:
        return unpack(pack(x), x.shape, torch.float32)

    def readable(x: Tensor) -> Tensor:
        return naive_unpack(naive_pack(x.detach()), x.shape, torch.float32)

    benchmark.group = f"bits T={timesteps}"
    race(benchmark, version, lambda x: there_and_back(x.detach()), readable, spikes)


@pytest.mark.skipif(ON_GPU, reason="a GPU has no kernels for batch norm's forward")
@versions
@over_time
def test_batch_norm(benchmark: BenchmarkFixture, version: str, timesteps: int) -> None:
    weight, bias = torch.rand(CHANNELS), torch.rand(CHANNELS)
    benchmark.group = f"batch_norm T={timesteps}"
    race(
        benchmark,
        version,
        lambda c: batch_norm(c.detach(), weight, bias, 1e-5, in_place=False)[0],
        lambda c: F.batch_norm(c.detach(), None, None, weight, bias, training=True),
        sequence(timesteps).flatten(0, 1),
    )


def test_what_is_timed_is_what_the_device_gets(benchmark: Any) -> None:
    assert benchmark(backend, DEVICE) == KERNELS


@pytest.mark.skipif(ON_GPU, reason="a GPU has no kernels for batch norm's backward")
@versions
@over_time
def test_batch_norm_backward(benchmark: BenchmarkFixture, version: str, timesteps: int) -> None:
    grad, c = (sequence(timesteps).flatten(0, 1) for _ in range(2))
    weight, mean, spread = torch.rand(CHANNELS), c.mean((0, 2, 3)), torch.rand(CHANNELS) + 0.5

    def readable(d: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        along, others = (1, -1, 1, 1), (0, 2, 3)
        d, xhat = d.detach(), (x.detach() - mean.view(along)) * spread.view(along)
        by_weight, by_bias = (d * xhat).sum(others), d.sum(others)
        share = CHANNELS / x.numel()
        left = d - share * by_bias.view(along) - xhat * (share * by_weight).view(along)
        return (weight * spread).view(along) * left, by_weight, by_bias

    benchmark.group = f"batch_norm_backward T={timesteps}"
    race(
        benchmark,
        version,
        lambda d, x: batch_norm_backward(d.detach(), x.detach(), weight, mean, spread),
        readable,
        grad,
        c,
    )
