"""A PLIF layer: one time step, and all of them at once."""

from ratebp.ops.plif.naive import naive_plif_scan, plif_step
from ratebp.ops.plif.torch import plif_scan

__all__ = ["naive_plif_scan", "plif_scan", "plif_step"]
