"""Synapses of rate-based backpropagation: record in the spike pass, replay in the rate pass."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ratebp.ops import AsItIs, Counts, Origin, Stored, geometry_of, naive_synapse, pieces, synapse
from ratebp.rules.handover import Handover, unread
from ratebp.views import Folded, Leaf


class _RateSynapse(Leaf):
    """A synapse of the spike pass: records its mean output, or the output's shape alone."""

    stateful = True
    most = 2
    """Pieces of a large input."""

    def __init__(
        self, layer: nn.Module, record: Handover, timesteps: int, *, keep_value: bool
    ) -> None:
        """Share `record` with the twin; `keep_value` is False if nobody reads the mean."""
        super().__init__()
        self.layer = layer
        self.record = record
        self.timesteps = timesteps
        self.keep_value = keep_value

    def _output(self, x: Tensor) -> Tensor:
        if x.dtype != torch.uint8:
            whole: Tensor = self.layer(x)
            return whole
        # Spikes of one byte become floats piece by piece, or they would be the pass's peak.
        dtype = _type_of(self.layer, x.device.type)
        parts = iter(pieces(0, x, most=self.most))
        first: Tensor = self.layer(next(parts)[0].to(dtype))
        if first.shape[0] == x.shape[0]:
            return first
        out = first.new_empty((x.shape[0], *first.shape[1:]))
        done = first.shape[0]
        out[:done].copy_(first)
        del first
        for (part,) in parts:
            out[done : done + part.shape[0]].copy_(self.layer(part.to(dtype)))
            done += part.shape[0]
        return out


def _type_of(layer: nn.Module, device: str) -> torch.dtype:
    if torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return next(layer.parameters()).dtype


class RecordSynapseScan(_RateSynapse, Folded):
    """All time steps at once, folded ``[T*B, ...]``."""

    most = 8

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output."""
        out = self._output(x)
        steps = self.steps(out)
        self.record.put(steps.mean(0) if self.keep_value else unread(steps[0]))
        return out


class RecordSynapseStep(_RateSynapse):
    """One time step a call, ``[B, ...]``."""

    def __init__(
        self, layer: nn.Module, record: Handover, timesteps: int, *, keep_value: bool
    ) -> None:
        """Start with nothing recorded."""
        super().__init__(layer, record, timesteps, keep_value=keep_value)
        self.mean: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output for this step."""
        out = self._output(x)
        if self.keep_value:
            part = out / self.timesteps
            self.mean = part if self.mean is None else self.mean + part
            self.record.put(self.mean)
        else:
            self.record.put(unread(out))
        return out

    def reset(self) -> None:
        """Start anew; the record stays for the rate pass."""
        self.mean = None


class ReplaySynapse(Leaf):
    """The synapse of the rate pass: the recorded mean output, with the gradients of W r + b.

    A linear map commutes with the mean over time, so ``mean_t (W s[t] + b) = W r + b`` is known
    from the spike pass and nothing is computed.
    """

    stateful = True

    def __init__(
        self,
        layer: nn.Module,
        record: Handover,
        timesteps: int,
        counts: Handover | None,
        origin: Handover | None,
    ) -> None:
        """Share the records.

        Args:
            layer: the synapse.
            record: of the twin in the spike pass.
            timesteps: T.
            counts: where the spike count of the neuron before arrives, one byte a neuron; None
                where the input is anything else than that neuron's rate.
            origin: where the norm behind finds how to compute this synapse's output; None where
                none asks.
        """
        super().__init__()
        self.layer = layer
        self.record = record
        self.counts = counts
        self.origin = origin
        self.stored: Stored = AsItIs() if counts is None else Counts(timesteps)
        self.geometry = geometry_of(layer)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean output for the mean input `x`, ``[B, ...]``."""
        (value,) = self.record.take()
        if self.geometry is None:
            return naive_synapse(self.layer, x, value=value)
        weight, bias = self.layer.weight, self.layer.bias
        assert isinstance(weight, Tensor)
        assert bias is None or isinstance(bias, Tensor)
        source = x.detach() if self.counts is None else self.counts.take()[0]
        if self.origin is not None:
            self.origin.put(Origin(source, self.stored, x.shape, weight, bias, self.geometry))
        return synapse(
            x, weight, bias, self.geometry, source=source, stored=self.stored, value=value
        )
