"""One time step of a LIF layer."""

from ratebp.ops.backends import dispatched
from ratebp.ops.lif_step import adjoint, fused
from ratebp.ops.lif_step.naive import last_spike, naive_lif_step
from ratebp.ops.lif_step.recomputed import Past, lif_step_of

# A single step is bound by memory on a CPU: a C++ kernel took as long as torch's operators.
lif_step = dispatched(adjoint.lif_step, fused.lif_step, ("triton",), check=adjoint.check)

__all__ = ["Past", "last_spike", "lif_step", "lif_step_of", "naive_lif_step"]
