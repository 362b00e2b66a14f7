"""Batch norm without a graph, its backward, and its affine map."""

from ratebp.ops.batch_norm.fused import affine, affine_, batch_norm, batch_norm_backward
from ratebp.ops.batch_norm.naive import naive_batch_norm
from ratebp.ops.batch_norm.torch import along_channels

__all__ = [
    "affine",
    "affine_",
    "along_channels",
    "batch_norm",
    "batch_norm_backward",
    "naive_batch_norm",
]
