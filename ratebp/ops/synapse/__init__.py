"""Linear maps whose value, or whose weight gradient's input, is replaced."""

from ratebp.ops.synapse.geometry import Geometry, geometry_of
from ratebp.ops.synapse.naive import naive_synapse
from ratebp.ops.synapse.substituted import synapse

__all__ = ["Geometry", "geometry_of", "naive_synapse", "synapse"]
