"""One time step of a LIF layer."""

from ratebp.ops.lif_step.naive import lif_step

__all__ = ["lif_step"]
