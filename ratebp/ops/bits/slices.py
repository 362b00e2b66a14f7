"""Bit packing slice by slice: beside the result, an eighth of the elements at most."""

from __future__ import annotations

import torch
from torch import Tensor


def pack(spikes: Tensor) -> Tensor:
    """Return the elements of `spikes` (0 or 1, any shape and dtype) as bits, ``[ceil(n / 8)]``."""
    flat = spikes.flatten()
    size = -(-flat.numel() // 8)
    bits = torch.zeros(size, dtype=torch.uint8, device=flat.device)
    for k in range(8):
        part = flat[k * size : (k + 1) * size]
        bits[: part.numel()].add_(part.to(torch.uint8), alpha=1 << k)
    return bits


def unpack(bits: Tensor, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """Return what `pack` packed, as a contiguous tensor of `shape` and `dtype`."""
    flat = torch.empty(shape.numel(), dtype=dtype, device=bits.device)
    size = bits.numel()
    for k in range(8):
        part = flat[k * size : (k + 1) * size]
        part.copy_((bits[: part.numel()] >> k) & 1)
    return flat.view(shape)
