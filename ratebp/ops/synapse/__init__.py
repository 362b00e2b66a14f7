"""Linear maps whose value, or whose weight gradient's input, is replaced."""

from ratebp.ops.synapse.at_once import at_once, has_hooks
from ratebp.ops.synapse.geometry import Geometry, geometry_of
from ratebp.ops.synapse.naive import naive_synapse
from ratebp.ops.synapse.stored import AsItIs, Bits, Counts, Stored
from ratebp.ops.synapse.substituted import synapse

__all__ = [
    "AsItIs",
    "Bits",
    "Counts",
    "Geometry",
    "Stored",
    "at_once",
    "geometry_of",
    "has_hooks",
    "naive_synapse",
    "synapse",
]
