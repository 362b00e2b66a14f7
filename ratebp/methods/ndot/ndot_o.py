"""Neuronal dynamics-based online training, an update at every time step."""

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
class NdotO(Method):
    """NDOT_O: traces decayed by each presynaptic neuron's potential, an update per time step.

    ::

        a[t] = e[t-1] a[t-1] + s[t],   dW = sum_t g_u[t] a[t]^T
        e[t] = (u[t] - threshold s[t]) / (u[t-1] - threshold s[t-1]), bounded as in `ndot_a`

    Source: Jiang et al., ICML 2024. The gradients are those of `ndot_a`, applied and cleared after
    every time step: T updates per batch, so momentum and weight decay act T times. The later
    steps run with the updated weights, and their traces with the spikes that those gave.

    Options:
        potential: as in `ndot_a`.
    """

    info: ClassVar = Info(
        label="NDOT-O",
        family="online",
        memory="constant",
        layout="single",
        loss="per_step",
        papers=("Jiang et al. 2024, ICML, PMLR v235",),
        updates="time step",
    )
    identities: ClassVar = (
        Identity("ndot_a"),
        Identity("bptt_s", {"timesteps": 1}),
    )
    needs: ClassVar = (Need.SYNAPSES,)

    potential: str = option("formula", *NEURONS)

    def build(self, binding: Binding) -> dict[str, View]:
        """Let neurons make traces, and synapses read them."""
        return {"net": binding.view(ndot_rules(binding, self.potential))}

    def step(
        self, views: dict[str, View], x: Tensor, y: Tensor, loss: Loss, context: StepContext
    ) -> Result:
        """Run each step forward and backward, and apply its gradients."""
        return online(views["net"], x, y, loss, context, update=True)
