"""Sizes beside the blocks, extreme numbers and layouts: what every kernel must take.

Run under the sanitizers (`tests/sanitize`), a read or write out of range ends the process.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ratebp.errors import OperandError
from ratebp.ops import (
    advance,
    affine,
    at_rest,
    batch_norm,
    lif_scan,
    naive_lif_scan,
    naive_pack,
    pack,
    rate_scan,
    rate_step,
    unpack,
    using,
)
from ratebp.ops.batch_norm.fused import batch_norm_backward
from tests.ratebp.kernels.common import BACKEND, DEVICE, RESETS, currents, dynamics_of

BLOCK = 512  # neurons, of kernels.h; Triton's are 256 and 1024
SIZES = [0, 1, 2, 7, 8, 9, 15, 17, 63, 65, 255, 257, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 1]
EXTREMES = [0.0, -0.0, 1e-45, -1e-45, 1e38, -1e38, torch.inf, -torch.inf, torch.nan, 0.8]


def guarded(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return currents at the very end of their memory, whose start is not aligned to vectors."""
    size = torch.Size(shape).numel()
    return currents(size + 3, dtype=dtype)[3:].view(shape)


@pytest.mark.parametrize("number", SIZES)
@pytest.mark.parametrize("timesteps", [1, 2, 5])
def test_sizes_beside_the_blocks(timesteps: int, number: int) -> None:
    """Each size at which a vector or a block ends, one more and one less, and nothing at all."""
    dynamics = dynamics_of("soft", False)
    current = guarded(timesteps, number)
    with using("torch"):
        want = lif_scan(current, dynamics)
    with using(BACKEND):
        assert torch.equal(lif_scan(current, dynamics), want)
        leaf = current.clone().requires_grad_()
        (grad,) = torch.autograd.grad(lif_scan(leaf, dynamics).sum(), leaf)
        spikes, count, _ = rate_scan(current, dynamics, torch.float32)
        state = at_rest(current[0], dynamics, timesteps)
        for now in current.unbind(0):
            advance(now, state, dynamics)
        bits = pack(want)
        again = unpack(bits, want.shape, torch.float32)
    assert grad.isfinite().all()
    for each in (spikes, again):
        assert torch.equal(each, want)
    for total in (count, state.spikes):
        assert torch.equal(total.float(), want.sum(0))
    assert torch.equal(bits, naive_pack(want))


@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 1), (3, 1, 63), (2, 3, 65), (1, 513, 2), (3, 0)])
def test_norms_of_every_extent(shape: tuple[int, ...]) -> None:
    x = guarded(*shape)
    factors = guarded(2, shape[1])
    with using(BACKEND):
        got = affine(x, factors[0], factors[1])
        assert got.shape == x.shape
        if not x.numel():
            with pytest.raises(OperandError, match=r"batch_norm: `c` is \[3, 0\]"):
                batch_norm(x, factors[0], factors[1], 1e-5, in_place=False)
            return
        out, mean, _, inv_std = batch_norm(x, factors[0], factors[1], 1e-5, in_place=False)
        back = batch_norm_backward(out, x, factors[0], mean, inv_std)
    assert all(each.isfinite().all() for each in (out, *back))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy's, interpreted
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("reset", "detach"), RESETS)
def test_extreme_potentials(reset: str, detach: bool, dtype: torch.dtype) -> None:
    """Infinities, NaN and numbers without a full mantissa do what they do in the readable step."""
    values = torch.tensor(EXTREMES, dtype=torch.float64)
    current = torch.cartesian_prod(values, values).T.to(DEVICE, dtype)
    dynamics = dynamics_of(reset, detach)
    state, want = None, []
    for now in current.unbind(0):
        s, state = rate_step(now, state, dynamics)
        want.append(s)
    with using(BACKEND):
        assert torch.equal(lif_scan(current, dynamics), naive_lif_scan(current, dynamics))
        spikes, count, eligibility = rate_scan(current, dynamics, dtype)
    assert torch.equal(spikes, torch.stack(want))
    assert state is not None
    assert torch.equal(count.to(state.spikes.dtype), state.spikes)
    close = {"rtol": 1e-4, "atol": 1e-6, "equal_nan": True}
    torch.testing.assert_close(eligibility, state.eligibility, **close)


def test_every_byte_is_bits() -> None:
    every = torch.arange(256, dtype=torch.uint8, device=DEVICE)
    with using(BACKEND):
        spikes = unpack(every, torch.Size((8, 256)), torch.uint8)
        assert torch.equal(pack(spikes), every)
    assert torch.equal(spikes, every >> torch.arange(8, device=DEVICE).unsqueeze(1) & 1)


def test_currents_of_any_stride() -> None:
    """Stride 0 over time, batch or neurons, and steps that lie far apart in a large memory."""
    dynamics, one = dynamics_of("hard", False), currents(1)
    far = currents(1 << 20)[:: 1 << 17].view(8, 1, 1).expand(8, 3, 5)
    for current in (
        one.expand(4, 3, 5), currents(3, 1).expand(4, 3, 5), currents(4, 1, 1).expand(4, 3, 5),
        currents(5).expand(4, 3, 5), far, far.transpose(0, 1), currents(4, 3, 10)[..., ::2],
    ):  # fmt: skip
        with using(BACKEND):
            got = lif_scan(current, dynamics), rate_scan(current, dynamics, torch.bool)[0]
        want = naive_lif_scan(current, dynamics)
        assert torch.equal(got[0], want)
        assert torch.equal(got[1].double(), want)
