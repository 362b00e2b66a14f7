"""The LIF with spike count and eligibility in Triton against the readable step."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ratebp.dynamics import Dynamics
from ratebp.ops import RateState, advance, at_rest, rate_scan, rate_step, replay_rate, using
from ratebp.surrogates import names
from tests.ratebp.kernels.common import (
    BACKEND,
    DEVICE,
    HALVES,
    RESETS,
    TOLERANCE,
    assert_rounded,
    both_equal,
    currents,
    dynamics_of,
    poisoned_memory,
)

__all__ = ["poisoned_memory"]  # applied to every check here

SHAPES = [(1, 1), (3, 257), (5, 2, 3, 7, 1), (17, 1, 1)]
LARGE = (2, 131073)  # a block and a bit of the larger size


def readable(current: Tensor, dynamics: Dynamics) -> tuple[Tensor, RateState]:
    state, spikes = None, []
    for now in current.unbind(0):
        s, state = rate_step(now, state, dynamics)
        spikes.append(s)
    assert state is not None
    return torch.stack(spikes), state


def check(current: Tensor, dynamics: Dynamics, dtype: torch.dtype) -> None:
    spikes, state = readable(current, dynamics)
    before = current.clone()
    tolerance = TOLERANCE.get(current.dtype, TOLERANCE[torch.float32])
    one_by_one = at_rest(current[0], dynamics, len(current))
    with using(BACKEND):
        found, count, eligibility = rate_scan(current, dynamics, dtype)
        fired = torch.stack([advance(now, one_by_one, dynamics) for now in current.unbind(0)])
    assert found.dtype == dtype
    assert fired.dtype == torch.bool
    for each in (found, fired):
        assert torch.equal(each.to(spikes.dtype), spikes)
    for each in (count, one_by_one.spikes):
        assert each.dtype == torch.uint8
        assert torch.equal(each.to(state.spikes.dtype), state.spikes)
    for each in (eligibility, one_by_one.eligibility):
        assert each.dtype == state.eligibility.dtype
        torch.testing.assert_close(each, state.eligibility, rtol=tolerance, atol=tolerance)
    for kept, want in ((one_by_one.carry, state.carry), (one_by_one.rho, state.rho)):
        torch.testing.assert_close(kept, want.reshape(kept.shape), rtol=tolerance, atol=tolerance)
    assert torch.equal(current, before)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("reset", "detach"), RESETS)
def test_statistics(shape: tuple[int, ...], reset: str, detach: bool, dtype: torch.dtype) -> None:
    check(currents(*shape, dtype=dtype), dynamics_of(reset, detach), torch.uint8)


def test_a_large_layer() -> None:
    check(currents(*LARGE, dtype=torch.float32), dynamics_of("hard", False), torch.uint8)


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize(("reset", "detach"), RESETS)
def test_every_surrogate(name: str, reset: str, detach: bool) -> None:
    check(currents(4, 3, 31), dynamics_of(reset, detach, name), torch.float64)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize(("reset", "detach"), RESETS)
def test_narrow_currents(reset: str, detach: bool, dtype: torch.dtype) -> None:
    check(currents(4, 3, 31, dtype=dtype), dynamics_of(reset, detach), dtype)


def test_layouts() -> None:
    folded = currents(6, 4, 5, 3).contiguous(memory_format=torch.channels_last)
    for current in (folded.unflatten(0, (3, 2)), currents(3, 2, 14)[..., ::2]):
        check(current, dynamics_of("hard", False), torch.uint8)
    rows = at_rest(currents(2, 4, 5, 3), Dynamics(), 3)
    _, want = readable(folded.unflatten(0, (3, 2)), Dynamics())
    with using(BACKEND):
        for now in folded.unflatten(0, (3, 2)).unbind(0):
            advance(now, rows, Dynamics())
    assert torch.equal(rows.spikes.double(), want.spikes)


def test_counts_beyond_a_byte() -> None:
    with using(BACKEND):
        current = torch.full((300, 2), 5.0, device=DEVICE)
        _, count, _ = rate_scan(current, Dynamics(), torch.float32)
    assert count.tolist() == [300.0, 300.0]


@pytest.mark.parametrize("shape", [(1,), (3, 5), (513,)], ids=str)
def test_replayed_rate(shape: tuple[int, ...]) -> None:
    rate = currents(*shape)
    for eligibility in (currents(*shape), currents(*shape, 2)[..., 0]):
        both_equal(lambda c, e=eligibility: replay_rate(c, rate, e, 3), currents(*shape))


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_replayed_rate_of_narrow_currents(dtype: torch.dtype) -> None:
    current, upstream = currents(3, 31, dtype=dtype), currents(3, 31, dtype=dtype)
    eligibility = currents(3, 31, dtype=torch.float32)
    leaf = current.clone().requires_grad_()
    with using(BACKEND):
        (got,) = torch.autograd.grad(replay_rate(leaf, current, eligibility, 3), leaf, upstream)
    assert got.dtype == dtype
    assert_rounded(got, upstream.float() * eligibility / 3)
