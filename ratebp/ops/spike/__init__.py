"""The spike function: a step forward, a surrogate backward."""

from ratebp.ops.spike.naive import spike
from ratebp.ops.spike.torch import slope, slope_

__all__ = ["slope", "slope_", "spike"]
