"""The scans of PLIF, ALIF and PSN layers: value and every gradient of the readable version."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from ratebp.dynamics import Dynamics
from ratebp.errors import OperandError
from ratebp.ops.alif import Adaptation, alif_scan, naive_alif_scan
from ratebp.ops.plif import naive_plif_scan, plif_scan
from ratebp.ops.psn import naive_psn, psn
from ratebp.ops.undecayed import naive_undecayed_scan, undecayed_scan
from ratebp.surrogates import Surrogate

SHAPES = [(1, 1), (5, 3, 7), (4, 2, 3, 5, 1), (6, 0, 3)]
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5}
RESETS = list(itertools.product(("soft", "hard"), (True, False)))
ATAN = Surrogate("atan", 2.0)


@pytest.fixture(autouse=True)
def poisoned_memory() -> Iterator[None]:
    """Fill every uninitialised tensor with NaN, so that an unwritten output cannot pass."""
    torch.use_deterministic_algorithms(True)
    assert torch.empty(3).isnan().all()
    torch.manual_seed(0)
    yield
    torch.use_deterministic_algorithms(False)


def both(
    fast: Callable[..., Tensor], readable: Callable[..., Tensor], *inputs: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the spikes of the two versions, and the gradients by each input."""
    upstream = torch.randn_like(inputs[0])
    found = []
    for run in (fast, readable):
        leaves = [x.clone().requires_grad_() for x in inputs]
        spikes = run(*leaves)
        found.append((spikes.detach(), *torch.autograd.grad(spikes, leaves, upstream)))
    yield from zip(*found, strict=True)
    with torch.no_grad():
        assert torch.equal(fast(*inputs), found[0][0])


def assert_both_equal(
    fast: Callable[..., Tensor], readable: Callable[..., Tensor], *inputs: Tensor
) -> None:
    tolerance = TOLERANCE[inputs[0].dtype]
    for got, want in both(fast, readable, *inputs):
        assert got.dtype == want.dtype
        torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("reset", "detach"), RESETS)
def test_plif(shape: tuple[int, ...], reset: str, detach: bool, dtype: torch.dtype) -> None:
    layer = Dynamics(1.0, 0.8, reset, detach, ATAN)
    current, share = 3 * torch.randn(shape, dtype=dtype), torch.tensor(0.4, dtype=dtype)
    assert_both_equal(
        lambda c, k: plif_scan(c, k, layer),
        lambda c, k: naive_plif_scan(c, k, layer),
        current,
        share,
    )


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("reset", "detach"), RESETS)
def test_alif(shape: tuple[int, ...], reset: str, detach: bool, dtype: torch.dtype) -> None:
    layer, adaptation = Dynamics(0.7, 0.8, reset, detach, ATAN), Adaptation(0.3, 0.9)
    assert_both_equal(
        lambda c: alif_scan(c, layer, adaptation),
        lambda c: naive_alif_scan(c, layer, adaptation),
        2 * torch.randn(shape, dtype=dtype),
    )


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("detach", [True, False])
def test_undecayed(shape: tuple[int, ...], detach: bool, dtype: torch.dtype) -> None:
    layer = Dynamics(0.7, 0.8, "soft", detach, ATAN)
    assert_both_equal(
        lambda c: undecayed_scan(c, layer),
        lambda c: naive_undecayed_scan(c, layer),
        2 * torch.randn(shape, dtype=dtype),
    )


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_psn(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    steps = shape[0]
    current, mixing = torch.randn(shape, dtype=dtype), torch.randn(steps, steps, dtype=dtype)
    threshold = torch.rand(steps, dtype=dtype)
    assert_both_equal(
        lambda *x: psn(*x, ATAN), lambda *x: naive_psn(*x, ATAN), current, mixing, threshold
    )


def test_what_has_no_time_steps_is_refused() -> None:
    layer = Dynamics(0.7, 0.8, "soft", True, ATAN)
    with pytest.raises(OperandError, match="at least one time step"):
        alif_scan(torch.zeros(0, 3), layer, Adaptation(0.3, 0.9))
    with pytest.raises(OperandError, match="at least one time step"):
        plif_scan(torch.zeros(0, 3), torch.tensor(0.4), layer)
