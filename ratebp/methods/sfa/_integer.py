"""Neurons of integer training: levels of activation at once, and the spikes that they stand for."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ratebp.dynamics import Dynamics
from ratebp.errors import BindError
from ratebp.neurons import LIF
from ratebp.ops import lif_scan
from ratebp.rules.handover import widened
from ratebp.rules.norms.batch_norm import BATCH_NORMS
from ratebp.rules.norms.inputs import as_it_is
from ratebp.views import Leaf


class IntegerNeuron(Leaf):
    """One step: current ``[B, ...]`` to one of ``levels + 1`` activations in [0, 1].

    ::

        r = floor(clip(D u / threshold, 0, D) + start) / D
        dr/du = 1 / threshold  where 0 <= u <= threshold,  else 0
    """

    def __init__(self, lif: LIF, levels: int, start: float = 0.0, *, even: bool = False) -> None:
        """Take the threshold of `lif`.

        Args:
            lif: the neuron.
            levels: D.
            start: a part of a level, in [0, 1).
            even: whether to round to the nearest level, ties to the even one, whatever `start`.
        """
        super().__init__()
        self.threshold = lif.dynamics.threshold
        self.levels = levels
        self.start = start
        self.even = even

    def forward(self, current: Tensor) -> Tensor:
        """Return the activations, shape of `current`."""
        charge = self.levels * current.to(widened(current.dtype))
        x = (charge / self.threshold).clamp(0, self.levels)
        # The value is the floor to the bit: x - x is zero.
        kept = x.detach()
        level = self._rounded(kept) + (x - kept)
        return (level / self.levels).to(current.dtype)

    def _rounded(self, x: Tensor) -> Tensor:
        if self.even:
            return x.round()
        return (x + self.start if self.start else x).floor()


class UnfoldedNeuron(Leaf):
    """All steps of the unfolded network, folded ``[D*B, ...]``: an integrate-and-fire neuron.

    It gathers the currents of all D steps and then fires, without a leak::

        v[1] = start threshold + sum_d I[d]
        s[d] = 1 if v[d] >= threshold else 0,   v[d+1] = v[d] - threshold s[d]

    Its spikes come first and its silence last, so their mean is the activation of `IntegerNeuron`.
    """

    stateful = True

    def __init__(self, lif: LIF, levels: int, start: float = 0.0) -> None:
        """Take the threshold of `lif`; `levels` is D, `start` that of `IntegerNeuron`."""
        super().__init__()
        self.start = start * lif.dynamics.threshold
        self.unfolded = Dynamics(decay=1.0, threshold=lif.dynamics.threshold)
        self.levels = levels

    def forward(self, current: Tensor) -> Tensor:
        """Return the spikes, shape of `current`."""
        steps = current.unflatten(0, (self.levels, -1))
        charge = torch.zeros_like(steps, dtype=widened(steps.dtype))
        charge[0] = steps.sum(0, dtype=charge.dtype)
        if self.start:
            charge[0] += self.start
        return lif_scan(charge, self.unfolded).flatten(0, 1).to(current.dtype)


def frozen_affine(norm: nn.Module, path: str) -> nn.Module:
    """Return `norm` as it is if at inference it is affine: it commutes with the mean over steps.

    Raises:
        BindError: for any norm but torch's BatchNorm1d/2d/3d with running statistics.
    """
    if type(norm) in BATCH_NORMS and norm.running_mean is not None:
        return as_it_is(norm, path)
    raise BindError(
        f"integer training cannot unfold {type(norm).__name__} at `{path}`: at inference it "
        "depends on its input, so single spikes would be normalised by themselves. Use "
        "BatchNorm1d/2d/3d with running statistics or no norm there, or train with t1 or bptt_m."
    )
