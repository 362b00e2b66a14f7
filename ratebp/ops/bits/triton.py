"""Bit packing and unpacking in Triton: one pass, a lane for each byte."""

# No postponed annotations: triton reads `tl.constexpr` from them.
import triton
import triton.language as tl
from torch import Tensor

from ratebp.ops.fused import bytes_of
from ratebp.ops.triton import cast, launch


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


def pack(spikes: Tensor, bits: Tensor) -> None:
    """Fill `bits` with the dense `spikes`."""
    launch(_pack, bits.numel(), bits, bytes_of(spikes), bits, spikes.numel())


def unpack(bits: Tensor, spikes: Tensor) -> None:
    """Fill the dense `spikes` with `bits`."""
    launch(_unpack, bits.numel(), bits, bits, bytes_of(spikes), spikes.numel())
