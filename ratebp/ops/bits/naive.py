"""Bit packing in plain torch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ratebp.ops import operands


def naive_pack(spikes: Tensor) -> Tensor:
    """Return the elements of `spikes` (0 or 1, any shape and dtype) as bits, ``[ceil(n / 8)]``."""
    check_spikes(spikes)
    flat = spikes.flatten().to(torch.int64)
    rows = F.pad(flat, (0, -flat.numel() % 8)).view(8, -1)
    return (rows << torch.arange(8, device=flat.device).unsqueeze(1)).sum(0).to(torch.uint8)


def check_spikes(spikes: Tensor) -> None:
    """Refuse numbers that cannot be 0 or 1 alone."""
    if spikes.is_complex():
        raise operands.refused("pack", "spikes", spikes, "any real type")


def check_bits(bits: Tensor, shape: torch.Size, dtype: torch.dtype) -> None:
    """Refuse what are not the bits of a tensor of `shape`."""
    operands.bits("unpack", "bits", bits, torch.Size(shape).numel())


def naive_unpack(bits: Tensor, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """Return what `naive_pack` packed, as a contiguous tensor of `shape` and `dtype`."""
    check_bits(bits, shape, dtype)
    rows = (bits.unsqueeze(0) >> torch.arange(8, device=bits.device).unsqueeze(1)) & 1
    return rows.flatten()[: shape.numel()].view(shape).to(dtype)
