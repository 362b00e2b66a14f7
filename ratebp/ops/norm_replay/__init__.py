"""Batch norm on mean rates, with the statistics of the spike pass."""

from ratebp.ops.norm_replay.closed_form import norm_replay
from ratebp.ops.norm_replay.naive import naive_norm_replay

__all__ = ["naive_norm_replay", "norm_replay"]
