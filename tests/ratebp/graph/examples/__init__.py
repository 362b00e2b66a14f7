"""A call of every operation of the table: several where arguments change kind or place."""

from . import drawing, homogeneous, moves, nonlinear, products, rest, sums  # noqa: F401
from .base import EXAMPLES, Example

__all__ = ["EXAMPLES", "Example"]
