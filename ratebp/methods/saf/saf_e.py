"""Spike accumulation forwarding with a loss at every step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ratebp.method import Binding, Identity, Info, Method
from ratebp.methods.saf._accumulation import accumulated_view
from ratebp.needs import Need
from ratebp.phases import StepContext
from ratebp.schedules import Loss, Result, online
from ratebp.views import View

_PLAIN = {"norm": "none", "reset": "soft", "detach_reset": True}


@dataclass(frozen=True)
class SafE(Method):
    """SAF-E: layers hand on accumulated spikes; per-step loss, one backward per step.

    ::

        a[t] = decay a[t-1] + s[t],   U[t] = W a_in[t] + b e[t],   e[t] = decay e[t-1] + 1
        s[t] = H(U[t] - threshold (decay a[t-1] + 1)),   dW = sum_t g_u[t] a_in[t]^T

    Source: Saiin et al., TMLR 2024, arXiv 2310.02772. Spikes, logits and loss are those of the
    spiking network, the gradient is that of OTTT_A with traces everywhere, at one synaptic
    operation per layer and step. The logits are recovered as ``o[t] = U[t] - decay U[t-1]`` with a
    constant past. Restrictions: soft, detached reset; one decay; no norms, no max-pool. Under
    autocast accumulations are rounded where spikes are exact, so that spikes may differ.
    """

    info: ClassVar = Info(
        label="SAF-E",
        family="online",
        memory="constant",
        layout="single",
        loss="per_step",
        papers=("Saiin et al. 2024, TMLR, arXiv 2310.02772",),
        norms=False,
        inputs=False,
    )
    identities: ClassVar = (
        Identity("ottt_a", _PLAIN),
        Identity("sltt", {**_PLAIN, "decay": 0.0}),
        Identity("bptt_s", _PLAIN, over="last_spiking", other_options={"loss_mode": "per_step"}),
    )
    needs: ClassVar = (Need.SYNAPSES, Need.SINGLE)

    def build(self, binding: Binding) -> dict[str, View]:
        """Make the view on accumulations, or refuse what they cannot cross."""
        return {"net": accumulated_view("saf_e", binding)}

    def step(
        self, views: dict[str, View], x: Tensor, y: Tensor, loss: Loss, context: StepContext
    ) -> Result:
        """Run each step forward and backward, accumulating gradients."""
        return online(views["net"], x, y, loss, context)
