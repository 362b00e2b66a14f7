"""One time step of a LIF layer."""

from types import ModuleType

from ratebp.ops.backends import dispatched
from ratebp.ops.lif_step import adjoint, traced
from ratebp.ops.lif_step.naive import last_spike, naive_lif_step
from ratebp.ops.lif_step.recomputed import Past, lif_step_of


def _kernels() -> ModuleType:
    from ratebp.ops.lif_step import kernels

    return kernels


lif_step = dispatched(adjoint.lif_step, _kernels)
lif_step_traced = dispatched(traced.lif_step_traced, _kernels)

__all__ = ["Past", "last_spike", "lif_step", "lif_step_of", "lif_step_traced", "naive_lif_step"]
