"""Online training through time, gradients accumulated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ratebp.method import Binding, Identity, Info, Method, option
from ratebp.needs import Need
from ratebp.neurons import LIF, Delay
from ratebp.phases import StepContext
from ratebp.rules import PLACEMENTS, ottt_rules
from ratebp.schedules import Loss, Result, online
from ratebp.views import View


@dataclass(frozen=True)
class OtttA(Method):
    """OTTT_A: presynaptic traces carry the past, one backward per step, one update per batch.

    ::

        a[t] = decay a[t-1] + s_in[t],   dW = sum_t g_u[t] a[t]^T
        g_u[t] = (W_next^T g_u_next[t]) h'(u[t] - threshold)

    Source: Xiao et al., NeurIPS 2022, arXiv 2210.04195. A bias is a weight on the input 1 and
    has the trace of that. Deviations of the published code: its first layer uses the raw input,
    its readout (which has no leak) uses the trace, its biases none; `placement="published"`
    reproduces that.

    Options:
        placement: "all" traces every synapse and bias; "spiking" all but the readout, for which
            BPTT itself has no trace; "published" as above.
    """

    info: ClassVar = Info(
        label="OTTT-A",
        family="online",
        memory="constant",
        layout="single",
        loss="per_step",
        papers=("Xiao et al. 2022, NeurIPS, arXiv 2210.04195",),
    )
    identities: ClassVar = (
        Identity("bptt_s", {"timesteps": 1}),
        Identity("sltt", {"decay": 0.0}),
        Identity(
            "bptt_s",
            {"norm": "none", "reset": "soft", "detach_reset": True},
            over="last_spiking",
            other_options={"loss_mode": "per_step"},
        ),
    )
    needs: ClassVar = (Need.SYNAPSES,)

    neurons: ClassVar = (LIF, Delay)

    placement: str = option("all", *PLACEMENTS)

    def build(self, binding: Binding) -> dict[str, View]:
        """Swap neurons and give synapses their traces."""
        return {"net": binding.view(ottt_rules(binding.model, binding.wiring, self.placement))}

    def step(
        self, views: dict[str, View], x: Tensor, y: Tensor, loss: Loss, context: StepContext
    ) -> Result:
        """Run each step forward and backward, accumulating gradients."""
        return online(views["net"], x, y, loss, context)
