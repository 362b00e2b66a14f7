"""A LIF layer: all time steps at once or one, from a current or its terms, with rate statistics."""

from ratebp.ops.backends import dispatched
from ratebp.ops.lif.naive import last_spike, naive_lif_scan, naive_lif_step
from ratebp.ops.lif.rate import fused as fused_rate
from ratebp.ops.lif.rate import naive as naive_rate
from ratebp.ops.lif.rate import torch as torch_rate
from ratebp.ops.lif.rate.naive import RateState, rate_step
from ratebp.ops.lif.rate.torch import at_rest
from ratebp.ops.lif.scan import fused as fused_scan
from ratebp.ops.lif.scan import torch as torch_scan
from ratebp.ops.lif.scan_of import fused as fused_scan_of
from ratebp.ops.lif.scan_of import torch as torch_scan_of
from ratebp.ops.lif.scan_of.torch import Normalised, Spikes, Term
from ratebp.ops.lif.step import fused as fused_step
from ratebp.ops.lif.step import torch as torch_step
from ratebp.ops.lif.step_of.torch import Past, lif_step_of

lif_scan = dispatched("lif_scan", torch_scan.lif_scan, fused_scan.lif_scan, check=torch_scan.check)
lif_scan_of = dispatched(
    "lif_spikes_of", torch_scan_of.lif_scan_of, fused_scan_of.lif_scan_of, check=torch_scan_of.check
)
lif_step = dispatched("lif_step", torch_step.lif_step, fused_step.lif_step, check=torch_step.check)
advance = dispatched(
    "rate_advance", torch_rate.advance, fused_rate.advance, check=torch_rate.check_advance
)
rate_scan = dispatched(
    "rate_scan", torch_rate.rate_scan, fused_rate.rate_scan, check=torch_rate.check_scan
)
replay_rate = dispatched(
    "replay_rate_backward",
    naive_rate.replay_rate,
    fused_rate.replay_rate,
    check=naive_rate.check_replay,
)

__all__ = [
    "Normalised",
    "Past",
    "RateState",
    "Spikes",
    "Term",
    "advance",
    "at_rest",
    "last_spike",
    "lif_scan",
    "lif_scan_of",
    "lif_step",
    "lif_step_of",
    "naive_lif_scan",
    "naive_lif_step",
    "rate_scan",
    "rate_step",
    "replay_rate",
]
