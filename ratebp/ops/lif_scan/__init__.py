"""A LIF layer over all time steps at once."""

from ratebp.ops.lif_scan.adjoint import lif_scan
from ratebp.ops.lif_scan.naive import naive_lif_scan
from ratebp.ops.lif_scan.recomputed import Normalised, Spikes, Term, lif_scan_of

__all__ = ["Normalised", "Spikes", "Term", "lif_scan", "lif_scan_of", "naive_lif_scan"]
