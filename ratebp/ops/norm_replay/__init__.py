"""Batch norm on mean rates, with the statistics of the spike pass."""

from ratebp.ops.norm_replay.batch import batch_norm
from ratebp.ops.norm_replay.closed_form import affine, affine_, along_channels, norm_replay
from ratebp.ops.norm_replay.naive import naive_norm_replay
from ratebp.ops.norm_replay.recomputed import Origin, norm_recomputed

__all__ = [
    "Origin",
    "affine",
    "affine_",
    "along_channels",
    "batch_norm",
    "naive_norm_replay",
    "norm_recomputed",
    "norm_replay",
]
