"""An ALIF layer: one time step, and all of them at once."""

from ratebp.ops.alif.naive import Adaptation, AlifState, alif_step, naive_alif_scan
from ratebp.ops.alif.torch import alif_scan

__all__ = ["Adaptation", "AlifState", "alif_scan", "alif_step", "naive_alif_scan"]
