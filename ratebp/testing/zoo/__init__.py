"""Small networks, one for each kind of operation, wiring, neuron and habit that people use.

`MethodContract` runs `ratebp.verify` on all of them with every method: each must be right or
refused. `scripts/zoo_table.py` writes what came out to docs/zoo.md.
"""

from ratebp.testing.zoo import (  # noqa: F401  # they enter their networks
    attention,
    features,
    habits,
    mixing,
    neurons,
    norms,
    operations,
    randomness,
    several,
    sharing,
    state,
    sums,
    traps,
    wirings,
)
from ratebp.testing.zoo.base import Case, ZooEntry, entries

__all__ = ["Case", "ZooEntry", "entries"]
