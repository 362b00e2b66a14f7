"""Training methods, found by themselves.

A file in this folder is a method, named after the file. A folder in it is a family: its files are
methods, too, and what its methods alone share stands beside them in files whose names begin with an
underscore. Methods are also the classes under the entry point group ``ratebp.methods``, and the
files or folders named in the environment variable ``RATEBP_PLUGINS`` (separated like PATH). A
plug-in that cannot be loaded is reported by `broken` and stops nobody else.
"""

from ratebp.doors import Broken
from ratebp.methods._discovery import MethodEntry, broken, entries, get, names

__all__ = ["Broken", "MethodEntry", "broken", "entries", "get", "names"]
