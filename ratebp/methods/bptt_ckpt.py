"""Backpropagation through time with gradient checkpointing over time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from torch import Tensor

from ratebp.method import Binding, Identity, Info, Method, count, option
from ratebp.phases import StepContext
from ratebp.roles import Role
from ratebp.rules import StepLIF
from ratebp.rules.checkpoint import in_segments, rerun_norm
from ratebp.schedules import SEQUENCE_LOSSES, Loss, Result, whole_sequence
from ratebp.views import Rule, View


@dataclass(frozen=True)
class BpttCkpt(Method):
    """Exact BPTT, single-step, that keeps only potentials at segment borders and recomputes.

    The forward runs without a graph. The backward goes through the segments from the last to the
    first, runs each again with a graph from the potentials at its start, and hands their gradients
    to the segment before::

        kept:  u[m], u[2m], ...      (m = segment; one tensor per neuron and border)
        cost:  one more forward;  memory  O(T / m) potentials + the activations of m steps

    The recomputation belongs to the phase "backward". It draws the same dropout masks and leaves
    running statistics alone; modules other than norms must not change buffers in their forward.

    Source: Chen et al. 2016, arXiv 1604.06174 (checkpointing); Gruslys et al. 2016, arXiv
    1606.03401 (of the state, through time). Deviations: equal segments, no recursion.

    Options:
        segment: time steps per segment; T or more keeps nothing and recomputes all at once.
        loss_mode: "mean" or "per_step", as in `bptt_s`.
    """

    info: ClassVar = Info(
        label="BPTT (checkpointed)",
        family="exact",
        memory="linear",
        layout="single",
        loss="mean",
        papers=("Chen et al. 2016, arXiv 1604.06174", "Gruslys et al. 2016, arXiv 1606.03401"),
    )
    identities: ClassVar = (
        Identity("bptt_s"),
        Identity(
            "bptt_s",
            options={"loss_mode": "per_step"},
            other_options={"loss_mode": "per_step"},
        ),
        Identity("bptt_s", options={"segment": 2}),
        Identity("bptt_s", options={"segment": 9}),
    )

    segment: int = count(1)
    loss_mode: str = option("mean", *SEQUENCE_LOSSES)

    def build(self, binding: Binding) -> dict[str, View]:
        """Make the view of the forward, and that of the recomputation."""
        neuron: Rule = lambda lif, _: StepLIF(lif)  # noqa: E731
        return {
            "net": binding.view({Role.NEURON: neuron}, builds_graph=False),
            "rerun": binding.view({Role.NEURON: neuron, Role.NORM: rerun_norm}),
        }

    def step(
        self, views: dict[str, View], x: Tensor, y: Tensor, loss: Loss, context: StepContext
    ) -> Result:
        """Run all steps forward without a graph, then one backward that recomputes."""
        forward = partial(in_segments, rerun=views["rerun"], segment=self.segment)
        return whole_sequence(forward, views["net"], x, y, loss, context, self.loss_mode)
