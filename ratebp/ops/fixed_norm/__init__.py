"""Batch norm by constant statistics whose weight is frozen."""

from ratebp.ops.fixed_norm.naive import naive_fixed_norm
from ratebp.ops.fixed_norm.torch import fixed_norm

__all__ = ["fixed_norm", "naive_fixed_norm"]
