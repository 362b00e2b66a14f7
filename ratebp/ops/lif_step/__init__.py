"""One time step of a LIF layer."""

from ratebp.ops.lif_step.naive import LIFState, lif_step

__all__ = ["LIFState", "lif_step"]
