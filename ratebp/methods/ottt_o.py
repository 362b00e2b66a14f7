"""Online training through time, an update at every time step."""

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
class OtttO(Method):
    """OTTT_O: presynaptic traces carry the past, one backward and one update per time step.

    ::

        a[t] = decay a[t-1] + s_in[t],   dW = sum_t g_u[t] a[t]^T
        g_u[t] = (W_next^T g_u_next[t]) h'(u[t] - threshold)

    Source: Xiao et al., NeurIPS 2022, arXiv 2210.04195. The gradients are those of `ottt_a`,
    applied and cleared after every time step: T updates per batch, so momentum and weight decay
    act T times. The later steps run with the updated weights, and their traces with the inputs
    that those gave.

    Options:
        placement: as in `ottt_a`.
    """

    info: ClassVar = Info(
        label="OTTT-O",
        family="online",
        memory="constant",
        layout="single",
        loss="per_step",
        papers=("Xiao et al. 2022, NeurIPS, arXiv 2210.04195",),
        updates="time step",
    )
    identities: ClassVar = (
        Identity("ottt_a"),
        Identity("bptt_s", {"timesteps": 1}),
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
        """Run each step forward and backward, and apply its gradients."""
        return online(views["net"], x, y, loss, context, update=True)
