"""Spiking networks for one time step; none of them knows the number of steps or a method."""

from ratebp.doors import Entry
from ratebp.models.registry import broken, build, built, get, names

__all__ = ["Entry", "broken", "build", "built", "get", "names"]
