"""Spikes at one bit each."""

from ratebp.ops.backends import dispatched
from ratebp.ops.bits import fused, naive
from ratebp.ops.bits import torch as in_torch
from ratebp.ops.bits.naive import naive_pack, naive_unpack

pack = dispatched("pack", in_torch.pack, fused.pack, check=naive.check_spikes)
unpack = dispatched("unpack", in_torch.unpack, fused.unpack, check=naive.check_bits)

__all__ = ["naive_pack", "naive_unpack", "pack", "unpack"]
