"""How what is not of this library comes in: methods, networks, data sets.

Each kind has a registry with the same three ways in: a folder of ours, an entry point group, and
the files that `RATEBP_PLUGINS` names (`registry.discover`). A sweep names single ones by their
place, ``file.py:name`` (`places.at`). What cannot be loaded is told by name and stops nobody else.
"""

from ratebp.doors.entry import Entry
from ratebp.doors.files import PATHS
from ratebp.doors.places import at, is_place
from ratebp.doors.registry import Broken, data_of, discover, is_of_methods, networks_of

__all__ = [
    "PATHS",
    "Broken",
    "Entry",
    "at",
    "data_of",
    "discover",
    "is_of_methods",
    "is_place",
    "networks_of",
]
