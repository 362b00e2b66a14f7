"""Truncated backpropagation through time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ratebp.method import Binding, Identity, Info, Method, count
from ratebp.neurons import Neuron
from ratebp.phases import StepContext
from ratebp.rules.neurons.exact import step_neuron
from ratebp.rules.sharing.rules import bit_rules
from ratebp.schedules import Loss, Result, online
from ratebp.views import View


@dataclass(frozen=True)
class Tbptt(Method):
    """BPTT of the per-step loss with the edges through time cut every `window` steps.

    ::

        du[t] = ds[t] h'(u[t] - threshold) + du[t+1] (d u[t+1] / d u[t])   within a window

    One backward per window, so memory grows with the window and not with T. Source: Williams and
    Peng 1990, Neural Computation 2(4). Deviations: none; the first window starts at the first step.

    Options:
        window: time steps per backward; 1 is SLTT, T or more is `bptt_s` with the per-step loss.
    """

    info: ClassVar = Info(
        label="truncated BPTT",
        family="truncated",
        memory="constant",
        layout="single",
        loss="per_step",
        papers=("Williams and Peng 1990, Neural Computation",),
    )
    identities: ClassVar = (
        Identity("sltt", options={"window": 1}),
        Identity("bptt_s", options={"window": 3}, other_options={"loss_mode": "per_step"}),
        Identity("bptt_s", options={"window": 9}, other_options={"loss_mode": "per_step"}),
        Identity("bptt_s", {"decay": 0.0}, other_options={"loss_mode": "per_step"}),
    )

    neurons: ClassVar = (Neuron,)

    window: int = count(2)

    def build(self, binding: Binding) -> dict[str, View]:
        """Swap neurons for single steps that carry their potential."""
        rules = bit_rules(binding.model, binding.wiring, step_neuron, gathers=self.window > 1)
        return {"net": binding.view(rules)}

    def step(
        self, views: dict[str, View], x: Tensor, y: Tensor, loss: Loss, context: StepContext
    ) -> Result:
        """Run each window forward and backward, accumulating gradients."""
        return online(views["net"], x, y, loss, context, window=self.window)
