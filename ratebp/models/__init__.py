"""Spiking networks for one time step; none of them knows the number of steps or a method."""

from ratebp.models.registry import Entry, build, get, names

__all__ = ["Entry", "build", "get", "names"]
