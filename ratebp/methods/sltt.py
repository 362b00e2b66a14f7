"""Spatial learning through time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ratebp.method import Binding, Identity, Info, Method, option
from ratebp.neurons import LIF, Delay
from ratebp.phases import StepContext
from ratebp.rules.neurons.delay import detached_neuron
from ratebp.rules.sharing.rules import Remaking, Sharing
from ratebp.schedules import Loss, Result, online
from ratebp.views import View


@dataclass(frozen=True)
class Sltt(Method):
    """SLTT: BPTT of the per-step loss with every edge through time cut, one backward per step.

    ::

        g_u[t] = (W_next^T g_u_next[t]) h'(u[t] - threshold),   dW = sum_t g_u[t] s_in[t]^T

    Source: Meng et al., ICCV 2023, arXiv 2302.14311. Deviations: none in the gradient; the
    paper's mixed loss is the caller's `loss`.

    Options:
        pre_activations: "kept" keeps the input of each norm until the step's backward; "recomputed"
            keeps none and convolves again there, where a batch norm stands behind a convolution or
            matrix product: half of what is kept, one network forward more.
    """

    info: ClassVar = Info(
        label="SLTT",
        family="online",
        memory="constant",
        layout="single",
        loss="per_step",
        papers=("Meng et al. 2023, ICCV, arXiv 2302.14311",),
    )
    identities: ClassVar = (
        Identity("bptt_s", {"timesteps": 1}),
        Identity("bptt_s", {"decay": 0.0}, other_options={"loss_mode": "per_step"}),
        Identity("sltt", options={"pre_activations": "recomputed"}),
    )

    neurons: ClassVar = (LIF, Delay)

    pre_activations: str = option("kept", "kept", "recomputed")

    def build(self, binding: Binding) -> dict[str, View]:
        """Swap neurons for single steps without a gradient through time."""
        sharing = Remaking if self.pre_activations == "recomputed" else Sharing
        rules = sharing(binding.model, binding.wiring, detached_neuron).rules()
        return {"net": binding.view(rules)}

    def step(
        self, views: dict[str, View], x: Tensor, y: Tensor, loss: Loss, context: StepContext
    ) -> Result:
        """Run each step forward and backward, accumulating gradients."""
        return online(views["net"], x, y, loss, context)
