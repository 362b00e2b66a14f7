"""Spikes at one bit each."""

from ratebp.ops.bits.naive import naive_pack, naive_unpack
from ratebp.ops.bits.slices import pack, unpack

__all__ = ["naive_pack", "naive_unpack", "pack", "unpack"]
