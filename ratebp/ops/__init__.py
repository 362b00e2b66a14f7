"""Operators: pure functions on tensors, each a folder with its equation in a README.

A folder holds the readable version (`naive.py`) and, where there are some, faster versions beside
it. `fused.py` registers operators of one pass, whose work is done in Triton by `kernels.py` and in
C++ by `native.py` and `native.cpp`. `backend` says which runs on a device. Tests and
micro-benchmarks compare with that same readable version.
"""

from ratebp.ops.backends import BACKENDS, backend, by_hand, using
from ratebp.ops.bits import naive_pack, naive_unpack, pack, unpack
from ratebp.ops.lif_scan import (
    Normalised,
    Spikes,
    Term,
    lif_scan,
    lif_scan_of,
    naive_lif_scan,
)
from ratebp.ops.lif_step import (
    Past,
    last_spike,
    lif_step,
    lif_step_of,
    naive_lif_step,
)
from ratebp.ops.norm_replay import (
    Origin,
    affine,
    affine_,
    along_channels,
    batch_norm,
    naive_norm_replay,
    norm_of_batch,
    norm_recomputed,
    norm_replay,
)
from ratebp.ops.pieces import pieces
from ratebp.ops.rate_step import RateState, advance, at_rest, rate_scan, rate_step, replay_rate
from ratebp.ops.spike import spike
from ratebp.ops.steps import every_step, sum_of_steps
from ratebp.ops.synapse import (
    AsItIs,
    Bits,
    Counts,
    Geometry,
    Stored,
    at_once,
    geometry_of,
    has_hooks,
    naive_synapse,
    synapse,
)

__all__ = [
    "BACKENDS",
    "AsItIs",
    "Bits",
    "Counts",
    "Geometry",
    "Normalised",
    "Origin",
    "Past",
    "RateState",
    "Spikes",
    "Stored",
    "Term",
    "advance",
    "affine",
    "affine_",
    "along_channels",
    "at_once",
    "at_rest",
    "backend",
    "batch_norm",
    "by_hand",
    "every_step",
    "geometry_of",
    "has_hooks",
    "last_spike",
    "lif_scan",
    "lif_scan_of",
    "lif_step",
    "lif_step_of",
    "naive_lif_scan",
    "naive_lif_step",
    "naive_norm_replay",
    "naive_pack",
    "naive_synapse",
    "naive_unpack",
    "norm_of_batch",
    "norm_recomputed",
    "norm_replay",
    "pack",
    "pieces",
    "rate_scan",
    "rate_step",
    "replay_rate",
    "spike",
    "sum_of_steps",
    "synapse",
    "unpack",
    "using",
]
