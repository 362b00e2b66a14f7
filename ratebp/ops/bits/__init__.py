"""Spikes at one bit each."""

from ratebp.ops.backends import dispatched
from ratebp.ops.bits import fused, naive, rows
from ratebp.ops.bits.naive import naive_pack, naive_unpack

pack = dispatched(rows.pack, fused.pack, check=naive.check_spikes)
unpack = dispatched(rows.unpack, fused.unpack, check=naive.check_bits)

__all__ = ["naive_pack", "naive_unpack", "pack", "unpack"]
