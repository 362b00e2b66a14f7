"""One time step of a LIF layer."""

from ratebp.ops.lif_step.naive import last_spike, lif_step

__all__ = ["last_spike", "lif_step"]
