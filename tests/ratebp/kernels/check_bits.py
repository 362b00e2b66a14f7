"""Bit packing in Triton against the readable version."""

from __future__ import annotations

import pytest
import torch

from ratebp.ops import naive_pack, naive_unpack, pack, unpack, using
from tests.ratebp.kernels.common import BACKEND, DEVICE, poisoned_memory

__all__ = ["poisoned_memory"]  # applied to every check here

TYPES = [torch.bool, torch.uint8, torch.bfloat16, torch.float16, torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("shape", [(1,), (8,), (9,), (3, 5, 7), (64, 3), (2057,)], ids=str)
def test_bits(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    spikes = (torch.rand(shape) < 0.4).to(DEVICE, dtype)
    want = naive_pack(spikes)
    with using(BACKEND):
        bits = pack(spikes)
        back = unpack(bits, spikes.shape, dtype)
    assert torch.equal(bits, want)
    assert back.dtype == dtype
    assert back.is_contiguous()
    assert torch.equal(back, spikes)
    assert torch.equal(back, naive_unpack(bits, spikes.shape, dtype))


def test_other_layouts_and_nothing_at_all() -> None:
    spikes = (torch.rand(3, 5, 7) < 0.4).float().to(DEVICE).movedim(0, -1)
    empty = spikes[:0]
    with using(BACKEND):
        assert torch.equal(unpack(pack(spikes), spikes.shape, torch.float32), spikes)
        assert pack(empty).numel() == 0
        assert unpack(pack(empty), empty.shape, torch.float32).shape == empty.shape
        assert not pack(spikes.clone().requires_grad_()).requires_grad
