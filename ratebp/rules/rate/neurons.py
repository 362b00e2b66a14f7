"""Neurons of rate-based backpropagation: record in the spike pass, replay in the rate pass."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ratebp.neurons import LIF
from ratebp.ops import RateState, advance, at_rest, every_step, rate_scan, replay_rate
from ratebp.rules.handover import Handover, unread, widened
from ratebp.views import Folded, Leaf


class _RateNeuron(Leaf):
    """A LIF of the spike pass: records spike count and summed eligibility."""

    stateful = True

    def __init__(self, lif: LIF, record: Handover, timesteps: int, *, narrow: bool = False) -> None:
        """Take the constants of `lif`.

        Args:
            lif: the layer.
            record: shared with the twin in the rate pass.
            timesteps: T.
            narrow: whether spikes may be uint8; True only where every reader accepts that.
        """
        super().__init__()
        self.dynamics = lif.dynamics
        self.record = record
        self.timesteps = timesteps
        self.narrow = narrow

    def _type(self, current: Tensor) -> torch.dtype:
        return torch.uint8 if self.narrow else current.dtype


class RecordNeuronScan(_RateNeuron, Folded):
    """All time steps at once, folded ``[T*B, ...]``, recording the rate statistics."""

    def forward(self, current: Tensor) -> Tensor:
        """Return spikes, shape of `current`."""
        steps = every_step(self.steps(current), self.timesteps)
        spikes, count, eligibility = rate_scan(steps, self.dynamics, self._type(current))
        self.record.put(count, eligibility)
        return spikes.flatten(0, 1)


class RecordNeuronStep(_RateNeuron):
    """One time step a call, ``[B, ...]``, recording the rate statistics."""

    def __init__(self, lif: LIF, record: Handover, timesteps: int, *, narrow: bool = False) -> None:
        """Take the constants of `lif`, at rest."""
        super().__init__(lif, record, timesteps, narrow=narrow)
        self.state: RateState | None = None

    def forward(self, current: Tensor) -> Tensor:
        """Return the spikes of this step, shape of `current`."""
        if self.state is None:
            self.state = at_rest(current, self.dynamics, self.timesteps)
        elif torch.compiler.is_compiling():
            # The contract's compiled gradients are wrong if a graph changes tensors it was given.
            self.state = RateState(*(each.clone() for each in self.state))
        fired = advance(current, self.state, self.dynamics)
        self.record.put(self.state.spikes, self.state.eligibility)
        return fired.to(self._type(current))

    def reset(self) -> None:
        """Go back to rest; the record stays for the rate pass."""
        self.state = None


class ReplayNeuron(Leaf):
    """The neuron of the rate pass: its value is the mean rate, its derivative the eligibility.

    ::

        r = (1/T) sum_t s[t],   dr/dc = g
    """

    stateful = True

    def __init__(
        self, record: Handover, timesteps: int, counts: Sequence[Handover], *, unread: bool
    ) -> None:
        """Share the records.

        Args:
            record: of the twin in the spike pass.
            timesteps: T.
            counts: of the synapses that take the spike count instead of the rate.
            unread: whether nobody reads the value of the rate.
        """
        super().__init__()
        self.record = record
        self.timesteps = timesteps
        self.counts = counts
        self.unread = unread

    def forward(self, current: Tensor) -> Tensor:
        """Return the mean rate ``[B, ...]`` in the dtype of `current`, whose value is not read."""
        count, eligibility = self.record.take()
        for each in self.counts:
            each.put(count)
        # Out of place: a compiled rate pass would otherwise see its own input change under it.
        if self.unread:
            rate = unread(current)
        else:
            rate = (count.to(widened(current.dtype)) / self.timesteps).to(current.dtype)
        return replay_rate(current, rate, eligibility, self.timesteps)
