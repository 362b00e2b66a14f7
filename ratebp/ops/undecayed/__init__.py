"""A LIF layer whose reset does not decay: one time step, and all of them at once."""

from ratebp.ops.undecayed.naive import naive_undecayed_scan, undecayed_step
from ratebp.ops.undecayed.torch import undecayed_scan

__all__ = ["naive_undecayed_scan", "undecayed_scan", "undecayed_step"]
