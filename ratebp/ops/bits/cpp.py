"""Bit packing and unpacking in C++ (kernels.cpp), called as the Triton kernels are."""

from __future__ import annotations

import torch
from torch import Tensor

from ratebp.ops.cpp import TYPES, call


def pack(spikes: Tensor, bits: Tensor) -> None:
    """Fill `bits` with the dense `spikes`."""
    known = spikes if spikes.dtype in TYPES else spikes.to(torch.uint8)
    call("pack", known, bits, spikes.numel(), bits.numel())


def unpack(bits: Tensor, spikes: Tensor) -> None:
    """Fill the dense `spikes` with `bits`."""
    known = spikes if spikes.dtype in TYPES else torch.empty_like(spikes, dtype=torch.uint8)
    call("unpack", bits, known, spikes.numel(), bits.numel())
    if known is not spikes:
        spikes.copy_(known)
