"""Backpropagation through time, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ratebp.method import Binding, Identity, Info, Method, option
from ratebp.neurons import Neuron
from ratebp.phases import StepContext
from ratebp.roles import Role
from ratebp.rules.sharing.rules import step_sharing
from ratebp.schedules import SEQUENCE_LOSSES, Loss, Result, step_by_step, whole_sequence
from ratebp.views import View


@dataclass(frozen=True)
class BpttS(Method):
    """Exact BPTT with surrogate gradients, the whole net per time step: norms see one step each.

    ::

        du[t] = ds[t] h'(u[t] - threshold) + du[t+1] (d u[t+1] / d u[t])
        dW = sum_t du[t] s_in[t]^T

    Source: Wu et al. 2018 (STBP), arXiv 1706.02609. Deviations: none. Without norms, or with
    frozen ones, it equals `bptt_m`; with batch norm the two train different networks.

    Options:
        loss_mode: "mean" minimises the loss of the mean output, "per_step" the mean of the steps'
            losses, which is what online methods minimise.
    """

    info: ClassVar = Info(
        label="BPTT (single-step)",
        family="exact",
        memory="linear",
        layout="single",
        loss="mean",
        papers=("Wu et al. 2018, Frontiers in Neuroscience, arXiv 1706.02609",),
    )
    identities: ClassVar = (
        Identity("bptt_m", {"norm": "none"}),
        Identity(
            "bptt_m",
            {"norm": "none"},
            options={"loss_mode": "per_step"},
            other_options={"loss_mode": "per_step"},
        ),
        Identity("bptt_m", {"timesteps": 1}),
    )

    neurons: ClassVar = (Neuron,)

    loss_mode: str = option("mean", *SEQUENCE_LOSSES)

    def build(self, binding: Binding) -> dict[str, View]:
        """Swap neurons for single steps, and let leaves share what they keep."""
        norms, timesteps = binding.defaults[Role.NORM], binding.timesteps
        sharing = step_sharing(binding.model, binding.wiring, norms, timesteps=timesteps)
        return {"net": binding.view(sharing.rules())}

    def step(
        self, views: dict[str, View], x: Tensor, y: Tensor, loss: Loss, context: StepContext
    ) -> Result:
        """Run the net over all steps forward, then one backward."""
        return whole_sequence(step_by_step, views["net"], x, y, loss, context, self.loss_mode)
