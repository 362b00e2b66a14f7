"""Batch norm on mean rates, with the statistics of the spike pass."""

from ratebp.ops.norm_replay.naive import naive_norm_replay
from ratebp.ops.norm_replay.torch import (
    Origin,
    norm_of_batch,
    norm_recomputed,
    norm_replay,
)

__all__ = [
    "Origin",
    "naive_norm_replay",
    "norm_of_batch",
    "norm_recomputed",
    "norm_replay",
]
