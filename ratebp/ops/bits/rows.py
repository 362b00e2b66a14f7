"""Bit packing in few operators: eight rows of the spikes become the bits of one row of bytes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def pack(spikes: Tensor) -> Tensor:
    """Return the elements of `spikes` (0 or 1, any shape and dtype) as bits, ``[ceil(n / 8)]``."""
    flat = spikes.flatten()
    if flat.numel() % 8:
        flat = F.pad(flat.to(torch.uint8), (0, -flat.numel() % 8))
    rows = flat.view(8, -1)
    four = torch.add(rows[:4].to(torch.uint8), rows[4:].to(torch.uint8), alpha=16)
    two = four[:2].add_(four[2:], alpha=4)
    return torch.add(two[0], two[1], alpha=2)


def unpack(bits: Tensor, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """Return what `pack` packed, as a contiguous tensor of `shape` and `dtype`."""
    shifts = torch.arange(8, dtype=torch.uint8, device=bits.device)
    rows = (bits >> shifts.unsqueeze(1)).bitwise_and_(1)
    return rows.flatten()[: shape.numel()].view(shape).to(dtype)
