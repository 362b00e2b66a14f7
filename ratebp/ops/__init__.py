"""Operators: pure functions on tensors, each a folder with its equation in a README.

In every folder `naive.py` is the readable version, which tests and micro-benchmarks compare with,
and `torch.py` the same in fewer passes of torch's operators. `fused.py` registers operators of one
pass, whose work is done by `triton.py` and, in C++, by `cpp.py` and `kernels.cpp`. The table in
`backends` says which of them serves which operator, and `backend` which runs on a device.
"""

from ratebp.ops.accumulation import accumulating, has_hooks
from ratebp.ops.backends import BACKENDS, backend, by_hand, using
from ratebp.ops.batch_norm import affine, affine_, along_channels, batch_norm, naive_batch_norm
from ratebp.ops.bits import naive_pack, naive_unpack, pack, unpack
from ratebp.ops.fixed_norm import fixed_norm, naive_fixed_norm
from ratebp.ops.geometry import Geometry, geometry_of
from ratebp.ops.lif import (
    Normalised,
    Past,
    RateState,
    Spikes,
    Term,
    advance,
    at_rest,
    last_spike,
    lif_scan,
    lif_scan_of,
    lif_step,
    lif_step_of,
    naive_lif_scan,
    naive_lif_step,
    rate_scan,
    rate_step,
    replay_rate,
)
from ratebp.ops.norm_replay import (
    Origin,
    naive_norm_replay,
    norm_of_batch,
    norm_recomputed,
    norm_replay,
)
from ratebp.ops.pieces import pieces
from ratebp.ops.spike import spike
from ratebp.ops.steps import every_step, sum_of_steps
from ratebp.ops.stored import AsItIs, Bits, Counts, Stored
from ratebp.ops.synapse import naive_synapse, synapse

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
    "accumulating",
    "advance",
    "affine",
    "affine_",
    "along_channels",
    "at_rest",
    "backend",
    "batch_norm",
    "by_hand",
    "every_step",
    "fixed_norm",
    "geometry_of",
    "has_hooks",
    "last_spike",
    "lif_scan",
    "lif_scan_of",
    "lif_step",
    "lif_step_of",
    "naive_batch_norm",
    "naive_fixed_norm",
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
