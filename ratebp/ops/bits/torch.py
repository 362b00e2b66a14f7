"""Bit packing in few operators: eight rows of the spikes become the bits of one row of bytes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def pack(spikes: Tensor) -> Tensor:
    """Return the elements of `spikes` (0 or 1, any shape and dtype) as bits, ``[ceil(n / 8)]``."""
    flat = spikes.to(torch.uint8).flatten()
    if flat.numel() % 8:
        flat = F.pad(flat, (0, -flat.numel() % 8))
    low, high = flat.view(2, 4, -1).unbind()
    del flat
    low, high = torch.add(low, high, alpha=16).view(2, 2, -1).unbind()
    low, high = low.add_(high, alpha=4).unbind()
    return torch.add(low, high, alpha=2)


def unpack(bits: Tensor, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """Return what `pack` packed, as a contiguous tensor of `shape` and `dtype`."""
    shifts = torch.arange(8, dtype=torch.uint8, device=bits.device).view(8, 1)
    rows = (bits >> shifts).bitwise_and_(1)
    if rows.numel() != shape.numel():
        rows = rows.flatten()[: shape.numel()]
    return rows.view(shape).to(dtype)
