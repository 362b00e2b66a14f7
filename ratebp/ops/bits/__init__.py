"""Spikes at one bit each."""

from ratebp.ops.backends import dispatched
from ratebp.ops.bits import fused, rows
from ratebp.ops.bits.naive import naive_pack, naive_unpack

pack = dispatched(rows.pack, fused.pack)
unpack = dispatched(rows.unpack, fused.unpack)

__all__ = ["naive_pack", "naive_unpack", "pack", "unpack"]
