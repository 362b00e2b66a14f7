"""Embeddings of rate-based backpropagation: the mean over time of the rows that indices take."""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor, nn

from ratebp.rules.handover import Handover
from ratebp.views import Container, Leaf


class RecordEmbedding(nn.Embedding, Leaf):
    """An embedding of the spike pass, which notes the indices."""

    stateful = True
    record: Handover
    folded: bool
    seen: tuple[Tensor, ...] = ()

    def reset(self) -> None:
        """Start a sequence; the record stays for the rate pass."""
        self.__dict__["seen"] = ()

    def forward(self, input: Tensor) -> Tensor:
        """Return the rows of one time step, or of all of them, folded."""
        self.__dict__["seen"] = (input,) if self.folded else (*self.seen, input)
        self.record.put(*self.seen)
        return super().forward(input)


class ReplayEmbedding(nn.Embedding, Leaf):
    """The embedding of the rate pass: ``(1/T) sum_t W[i[t]]``, with the gradient of that.

    An embedding is linear in the one-hot code of its indices, whose mean over time it would take.
    """

    stateful = True
    record: Handover
    folded: bool
    timesteps: int

    def forward(self, input: Tensor) -> Tensor:
        """Return the mean rows ``[B, ..., D]``; the indices that are given are not read."""
        kept = self.record.take()
        steps = kept[0].unflatten(0, (self.timesteps, -1)).unbind(0) if self.folded else kept
        total = super().forward(steps[0])
        for now in steps[1:]:
            total = total + super().forward(now)
        return total / self.timesteps


def embedding_pairs(
    paths: Collection[str], timesteps: int, *, folded: bool
) -> tuple[dict[str, Container], dict[str, Container]]:
    """Return what makes the embeddings of the two passes of a view's own copies, by path.

    Args:
        paths: the embeddings that take an input of the model as it is.
        timesteps: T.
        folded: whether all time steps of the spike pass are one call.
    """
    spikes: dict[str, Container] = {}
    rates: dict[str, Container] = {}
    for path in paths:
        known = {"record": Handover(), "folded": folded, "timesteps": timesteps}
        spikes[path] = _becoming(RecordEmbedding, known)
        rates[path] = _becoming(ReplayEmbedding, known)
    return spikes, rates


def _becoming(cls: type[nn.Module], known: dict[str, object]) -> Container:
    def become(part: nn.Module) -> nn.Module:
        # In place, as pools do: it is the same module in whatever holds it.
        part.__class__ = cls
        part.__dict__.update(known)
        return part

    return become
