"""Bit packing and unpacking in Triton: one pass, a lane for each byte."""

# No postponed annotations: triton reads `tl.constexpr` from them.
from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from ratebp.ops.kernels import bytes_of, cast, launch, operator


@triton.jit
def _pack(spikes, bits, elements, number, BLOCK: tl.constexpr):
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = i < number
    byte = tl.zeros([BLOCK], tl.int32)
    index = i
    for k in tl.static_range(8):
        s = tl.load(spikes + index, mask=inside & (index < elements), other=0)
        byte += s.to(tl.int32) << k
        index += number
    tl.store(bits + i, byte.to(tl.uint8), mask=inside)


@triton.jit
def _unpack(bits, spikes, elements, number, BLOCK: tl.constexpr):
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = i < number
    byte = tl.load(bits + i, mask=inside, other=0).to(tl.int32)
    index = i
    for k in tl.static_range(8):
        s = cast((byte >> k) & 1, spikes.dtype.element_ty)
        tl.store(spikes + index, s, mask=inside & (index < elements))
        index += number


def bytes_for(elements: int) -> int:
    """Return how many bytes hold one bit for each of `elements`."""
    return -(-elements // 8)


@operator("pack")
def _pack_op(spikes: Tensor, elements: int) -> Tensor:
    # The number is an argument of its own because inductor evaluates element-wise operators on one
    # element where it knows all inputs to be uniform; this one then fails instead of misleading it.
    torch._check_value(spikes.numel() == elements, lambda: f"expected {elements} spikes")
    bits = torch.empty(bytes_for(elements), dtype=torch.uint8, device=spikes.device)
    launch(_pack, bits.numel(), bits, bytes_of(spikes), bits, elements)
    return bits


@_pack_op.register_fake
def _(spikes: Tensor, elements: int) -> Tensor:
    return spikes.new_empty(bytes_for(elements), dtype=torch.uint8)


@operator("unpack")
def _unpack_op(bits: Tensor, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    spikes = torch.empty(shape, dtype=dtype, device=bits.device)
    elements = spikes.numel()
    torch._check_value(bits.numel() == bytes_for(elements), lambda: f"too few bits for {shape}")
    launch(_unpack, bits.numel(), bits, bits, bytes_of(spikes), elements)
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
