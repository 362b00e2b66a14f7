"""The spike function: a step forward, a surrogate backward."""

from ratebp.ops.spike.naive import spike

__all__ = ["spike"]
