"""A LIF time step that also accumulates rate-BP's mean rate and eligibility."""

from ratebp.ops.rate_step.in_place import advance, at_rest, rate_scan
from ratebp.ops.rate_step.naive import RateState, rate_step, replay_rate

__all__ = ["RateState", "advance", "at_rest", "rate_scan", "rate_step", "replay_rate"]
