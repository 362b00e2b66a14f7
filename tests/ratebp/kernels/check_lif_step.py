"""The single LIF step in Triton, with and without a trace, against the readable version."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ratebp.ops import lif_step, using
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

SHAPES = [(1,), (2, 3, 7, 1), (513,)]


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("reset", "detach"), RESETS)
def test_lif_step(shape: tuple[int, ...], reset: str, detach: bool, dtype: torch.dtype) -> None:
    current, last = currents(*shape, dtype=dtype), currents(*shape, dtype=dtype)
    dynamics = dynamics_of(reset, detach)
    both_equal(lambda c: lif_step(c, None, dynamics), current)
    both_equal(lambda c, u: lif_step(c, u, dynamics), current, last)
    both_equal(lambda c: lif_step(c, last, dynamics), current)
    # One result is enough; a detached potential takes no gradient.
    both_equal(lambda c, u: lif_step(c, u, dynamics)[0], current, last)
    both_equal(lambda c, u: lif_step(c, u, dynamics)[1], current, last)


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize(("reset", "detach"), RESETS)
def test_steps_with_every_surrogate(name: str, reset: str, detach: bool) -> None:
    dynamics = dynamics_of(reset, detach, name)

    def steps(sequence: Tensor) -> list[Tensor]:
        u, spikes = None, []
        for now in sequence.unbind(0):
            s, u = lif_step(now, u, dynamics)
            spikes.append(s)
        return spikes

    both_equal(steps, currents(4, 3, 31))


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize(("reset", "detach"), RESETS)
def test_narrow_currents(reset: str, detach: bool, dtype: torch.dtype) -> None:
    dynamics = dynamics_of(reset, detach)
    narrow = currents(3, 31, dtype=dtype).requires_grad_()
    wide = narrow.detach().float().requires_grad_()
    last = currents(3, 31, dtype=torch.float32)
    with using(BACKEND):
        s, u = lif_step(narrow, last, dynamics)
    with using("torch"):
        want_s, want_u = lif_step(wide, last, dynamics)
    assert s.dtype == dtype
    assert u.dtype == torch.float32
    for got, want in ((s.float(), want_s), (u, want_u)):
        torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-6)
    upstream = torch.randn(s.shape).to(DEVICE, dtype)
    (got,) = torch.autograd.grad(s, narrow, upstream)
    (want,) = torch.autograd.grad(want_s, wide, upstream.float())
    assert_rounded(got, want)


def test_layouts() -> None:
    images = currents(2, 4, 5, 3).contiguous(memory_format=torch.channels_last)
    rows = currents(2, 4, 5, 3)
    dynamics = dynamics_of("hard", False)
    for current, last in ((images, rows), (rows, images), (rows[..., ::2], images[..., ::2])):
        both_equal(lambda c, u: lif_step(c, u, dynamics), current, last)
        with using(BACKEND):
            spikes, u = lif_step(current, last, dynamics)
        with using("torch"):
            assert torch.equal(spikes, lif_step(current, last, dynamics)[0])
        assert u.stride() == spikes.stride()
