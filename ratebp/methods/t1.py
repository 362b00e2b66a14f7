"""Training with one time step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from ratebp.controls import Control
from ratebp.method import Binding, Identity, Info
from ratebp.oracles import one_step
from ratebp.phases import StepContext
from ratebp.roles import Role
from ratebp.rules import ScanLIF
from ratebp.rules.norms.temporal import norm_rule
from ratebp.schedules import Loss, Result, layer_by_layer, whole_sequence
from ratebp.views import Rule, View


@dataclass(frozen=True)
class T1(Control):
    """Control: BPTT of a single step on the mean input, whatever T is; evaluate at T.

    ::

        u = W s_in + b,   du = ds h'(u - threshold),   s_in of the first layer: (1/T) sum_t x[t]

    What any method must beat: it costs a T-th, and nothing in it knows of time. Source: none; it is
    BPTT (Wu et al. 2018) at T=1, which rate coding makes a fair start for T steps of a static
    image. `ratebp.infer` runs the trained network over T steps. `Result.logits` and `Bound.plain`
    are those of the one step, with norms over the batch alone.
    """

    info: ClassVar = Info(
        label="one step (control)",
        family="control",
        memory="constant",
        layout="multi",
        loss="mean",
        papers=("Wu et al. 2018, Frontiers in Neuroscience, arXiv 1706.02609",),
    )
    identities: ClassVar = (
        Identity(oracle=one_step),
        Identity("bptt_m", {"timesteps": 1}),
        Identity("bptt_s", {"timesteps": 1}),
    )

    def build(self, binding: Binding) -> dict[str, View]:
        """Swap neurons for a single step from rest."""
        rules: dict[Role, Rule] = {
            Role.NEURON: lambda lif, _: ScanLIF(lif, 1),
            Role.NORM: norm_rule("multi", 1),
        }
        return {"net": replace(binding, timesteps=1).view(rules)}

    def step(
        self, views: dict[str, View], x: Tensor, y: Tensor, loss: Loss, context: StepContext
    ) -> Result:
        """Run one step forward and backward."""
        return whole_sequence(
            layer_by_layer, views["net"], self.frames(x), y, loss, context, "mean"
        )
