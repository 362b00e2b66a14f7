"""Operators: pure functions on tensors, each a folder with its equation in a README.

A folder holds the readable version (`naive.py`) and, where there is one, the fast version beside
it. Tests and micro-benchmarks compare with that same readable version.
"""

from ratebp.ops.bits import naive_pack, naive_unpack, pack, unpack
from ratebp.ops.lif_scan import (
    Normalised,
    Spikes,
    Term,
    lif_scan,
    lif_scan_of,
    naive_lif_scan,
)
from ratebp.ops.lif_step import last_spike, lif_step
from ratebp.ops.norm_replay import (
    Origin,
    affine,
    naive_norm_replay,
    norm_recomputed,
    norm_replay,
)
from ratebp.ops.pieces import pieces
from ratebp.ops.rate_step import RateState, advance, at_rest, rate_scan, rate_step, replay_rate
from ratebp.ops.spike import spike
from ratebp.ops.synapse import (
    AsItIs,
    Bits,
    Counts,
    Geometry,
    Stored,
    geometry_of,
    naive_synapse,
    synapse,
)

__all__ = [
    "AsItIs",
    "Bits",
    "Counts",
    "Geometry",
    "Normalised",
    "Origin",
    "RateState",
    "Spikes",
    "Stored",
    "Term",
    "advance",
    "affine",
    "at_rest",
    "geometry_of",
    "last_spike",
    "lif_scan",
    "lif_scan_of",
    "lif_step",
    "naive_lif_scan",
    "naive_norm_replay",
    "naive_pack",
    "naive_synapse",
    "naive_unpack",
    "norm_recomputed",
    "norm_replay",
    "pack",
    "pieces",
    "rate_scan",
    "rate_step",
    "replay_rate",
    "spike",
    "synapse",
    "unpack",
]
