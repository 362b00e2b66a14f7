"""A LIF layer over all time steps at once."""

from ratebp.ops.backends import dispatched
from ratebp.ops.lif_scan import adjoint, fused, recomputed, recomputed_fused
from ratebp.ops.lif_scan.naive import naive_lif_scan
from ratebp.ops.lif_scan.recomputed import Normalised, Spikes, Term

lif_scan = dispatched(adjoint.lif_scan, fused.lif_scan, check=adjoint.check)
lif_scan_of = dispatched(
    recomputed.lif_scan_of, recomputed_fused.lif_scan_of, check=recomputed.check
)

__all__ = ["Normalised", "Spikes", "Term", "lif_scan", "lif_scan_of", "naive_lif_scan"]
