"""A LIF time step that also accumulates rate-BP's mean rate and eligibility."""

from ratebp.ops.backends import dispatched
from ratebp.ops.rate_step import fused, in_place, naive
from ratebp.ops.rate_step.in_place import at_rest
from ratebp.ops.rate_step.naive import RateState, rate_step

advance = dispatched(in_place.advance, fused.advance, check=in_place.check_advance)
rate_scan = dispatched(in_place.rate_scan, fused.rate_scan, check=in_place.check_scan)
# Two passes over a mean are bound by memory on a CPU: a C++ kernel took as long.
replay_rate = dispatched(
    naive.replay_rate, fused.replay_rate, ("triton",), check=naive.check_replay
)

__all__ = ["RateState", "advance", "at_rest", "rate_scan", "rate_step", "replay_rate"]
