"""Batch norm on mean rates, with the statistics of the spike pass."""

from ratebp.ops.norm_replay.closed_form import norm_replay
from ratebp.ops.norm_replay.fused import affine, affine_, batch_norm
from ratebp.ops.norm_replay.kept_input import norm_of_batch
from ratebp.ops.norm_replay.maps import along_channels
from ratebp.ops.norm_replay.naive import naive_norm_replay
from ratebp.ops.norm_replay.recomputed import Origin, norm_recomputed

__all__ = [
    "Origin",
    "affine",
    "affine_",
    "along_channels",
    "batch_norm",
    "naive_norm_replay",
    "norm_of_batch",
    "norm_recomputed",
    "norm_replay",
]
