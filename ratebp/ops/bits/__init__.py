"""Spikes at one bit each."""

from types import ModuleType

from ratebp.ops.backends import dispatched
from ratebp.ops.bits import rows
from ratebp.ops.bits.naive import naive_pack, naive_unpack


def _kernels() -> ModuleType:
    from ratebp.ops.bits import kernels

    return kernels


pack = dispatched(rows.pack, _kernels)
unpack = dispatched(rows.unpack, _kernels)

__all__ = ["naive_pack", "naive_unpack", "pack", "unpack"]
