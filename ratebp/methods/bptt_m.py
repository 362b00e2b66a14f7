"""Backpropagation through time, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ratebp.method import Binding, Identity, Info, Method, option
from ratebp.neurons import Neuron
from ratebp.phases import StepContext
from ratebp.roles import Role
from ratebp.rules.sharing.rules import scan_sharing
from ratebp.schedules import SEQUENCE_LOSSES, Loss, Result, layer_by_layer, whole_sequence
from ratebp.views import View


@dataclass(frozen=True)
class BpttM(Method):
    """Exact BPTT with surrogate gradients, layer by layer: norms see all T*B samples at once.

    ::

        du[t] = ds[t] h'(u[t] - threshold) + du[t+1] (d u[t+1] / d u[t])
        dW = sum_t du[t] s_in[t]^T

    Source: Wu et al. 2018 (STBP), arXiv 1706.02609; rate-BP's comparator. Deviations: none. The
    neuron keeps its potential alone, and the loop never indexes a time axis, so backward is
    linear in T.

    Options:
        loss_mode: "mean" minimises the loss of the mean output, "per_step" the mean of the steps'
            losses, which is what online methods minimise.
    """

    info: ClassVar = Info(
        label="BPTT (multi-step)",
        family="exact",
        memory="linear",
        layout="multi",
        loss="mean",
        papers=("Wu et al. 2018, Frontiers in Neuroscience, arXiv 1706.02609",),
    )
    identities: ClassVar = (
        Identity("bptt_s", {"norm": "none"}),
        Identity("bptt_s", {"norm": "frozen"}),
        Identity("bptt_s", {"timesteps": 1}),
    )

    neurons: ClassVar = (Neuron,)

    loss_mode: str = option("mean", *SEQUENCE_LOSSES)

    def build(self, binding: Binding) -> dict[str, View]:
        """Swap neurons for scans over all steps, and let leaves share what they keep."""
        norms = binding.defaults[Role.NORM]
        sharing = scan_sharing(binding.model, binding.wiring, binding.timesteps, norms)
        return {"net": binding.view(sharing.rules())}

    def step(
        self, views: dict[str, View], x: Tensor, y: Tensor, loss: Loss, context: StepContext
    ) -> Result:
        """Run all layers forward over all steps, then one backward."""
        return whole_sequence(layer_by_layer, views["net"], x, y, loss, context, self.loss_mode)
