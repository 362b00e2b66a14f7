"""A layer of parallel spiking neurons over all time steps at once."""

from ratebp.ops.psn.naive import naive_psn
from ratebp.ops.psn.torch import psn

__all__ = ["naive_psn", "psn"]
