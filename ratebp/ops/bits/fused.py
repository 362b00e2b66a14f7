"""Bit packing and unpacking as operators of one pass, with kernels in Triton and C++."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ratebp.ops import operands
from ratebp.ops.backends import kernels
from ratebp.ops.bits.naive import check_spikes
from ratebp.ops.fused import operator


def bytes_for(elements: int) -> int:
    """Return how many bytes hold one bit for each of `elements`."""
    return -(-elements // 8)


@operator("pack")
def _pack_op(spikes: Tensor, elements: int) -> Tensor:
    # The number is an argument of its own because inductor evaluates element-wise operators on one
    # element where it knows all inputs to be uniform; this one then fails instead of misleading it.
    torch._check_value(spikes.numel() == elements, lambda: f"expected {elements} spikes")
    check_spikes(spikes)
    operands.dense("pack", 0, spikes=spikes)
    bits = torch.empty(bytes_for(elements), dtype=torch.uint8, device=spikes.device)
    kernels("pack", bits).pack(spikes, bits)
    return bits


@_pack_op.register_fake
def _(spikes: Tensor, elements: int) -> Tensor:
    return spikes.new_empty(bytes_for(elements), dtype=torch.uint8)


@operator("unpack")
def _unpack_op(bits: Tensor, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    spikes = torch.empty(shape, dtype=dtype, device=bits.device)
    operands.bits("unpack", "bits", bits, spikes.numel())
    operands.dense("unpack", 0, bits=bits)
    kernels("unpack", bits).unpack(bits, spikes)
    return spikes


@_unpack_op.register_fake
def _(bits: Tensor, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    return bits.new_empty(shape, dtype=dtype)


def pack(spikes: Tensor) -> Tensor:
    """Return the elements of `spikes` as bits, like `naive_pack`."""
    flat = spikes.detach().flatten()
    bits: Tensor = _pack_op(flat, flat.numel())
    return bits


def unpack(bits: Tensor, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """Return what `pack` packed, like `naive_unpack`."""
    spikes: Tensor = _unpack_op(bits, shape, dtype)
    return spikes
