"""Linear maps whose value, or whose weight gradient's input, is replaced."""

from ratebp.ops.synapse.naive import naive_synapse
from ratebp.ops.synapse.torch import synapse

__all__ = ["naive_synapse", "synapse"]
