"""A LIF layer over all time steps at once."""

from ratebp.ops.lif_scan.adjoint import lif_scan
from ratebp.ops.lif_scan.naive import naive_lif_scan

__all__ = ["lif_scan", "naive_lif_scan"]
