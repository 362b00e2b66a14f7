"""Pools of maps: maxima and means of windows."""

from ratebp.ops.pool.naive import naive_avg_pool, naive_max_pool
from ratebp.ops.pool.torch import Windows, avg_pool, max_pool

__all__ = ["Windows", "avg_pool", "max_pool", "naive_avg_pool", "naive_max_pool"]
