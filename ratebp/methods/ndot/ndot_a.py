"""Neuronal dynamics-based online training, gradients accumulated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ratebp.method import Binding, Identity, Info, Method, option
from ratebp.methods.ndot._leaves import NEURONS, ndot_rules
from ratebp.needs import Need
from ratebp.phases import StepContext
from ratebp.schedules import Loss, Result, online
from ratebp.views import View


@dataclass(frozen=True)
class NdotA(Method):
    """NDOT_A: as OTTT_A, but each presynaptic neuron's potential sets the decay of its trace.

    ::

        a[t] = e[t-1] a[t-1] + s[t],   dW = sum_t g_u[t] a[t]^T
        e[t] = (u[t] - threshold s[t]) / (u[t-1] - threshold s[t-1])
        g_u[t] = (W_next^T g_u_next[t]) h'(u[t] - threshold)

    e is clamped to [-decay, decay], and is the decay where the ratio is not finite; so e[1] is
    always the decay, and NDOT differs from OTTT from the third step on. Source: Jiang et al., ICML
    2024. The raw input of the first layer and the constant input of a bias have no potential:
    their traces are those of `ottt_a`. Traces go to a synapse as the spikes do, through sums,
    average pooling and flattening; `bind` refuses by name what is not linear in the spikes.

    Options:
        potential: "formula" as above; "published" is what the published code computes, which
            subtracts the threshold twice and decays the trace at t by e[t].
    """

    info: ClassVar = Info(
        label="NDOT-A",
        family="online",
        memory="constant",
        layout="single",
        loss="per_step",
        papers=("Jiang et al. 2024, ICML, PMLR v235",),
    )
    identities: ClassVar = (
        Identity("bptt_s", {"timesteps": 1}),
        Identity("ottt_a", {"timesteps": 1}),
        Identity("ottt_a", {"timesteps": 2}),
        Identity("sltt", {"decay": 0.0}),
        Identity("ottt_a", {"timesteps": 1}, options={"potential": "published"}),
        Identity("sltt", {"decay": 0.0}, options={"potential": "published"}),
    )
    needs: ClassVar = (Need.SYNAPSES,)

    potential: str = option("formula", *NEURONS)

    def build(self, binding: Binding) -> dict[str, View]:
        """Let neurons make traces, and synapses read them."""
        return {"net": binding.view(ndot_rules(binding, self.potential))}

    def step(
        self, views: dict[str, View], x: Tensor, y: Tensor, loss: Loss, context: StepContext
    ) -> Result:
        """Run each step forward and backward, accumulating gradients."""
        return online(views["net"], x, y, loss, context)
