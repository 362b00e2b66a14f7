"""Online spatio-temporal learning: exact within a layer, forward in time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from ratebp.method import Binding, Identity, Info, Method
from ratebp.methods.ostl._influence import (
    InfluenceRecurrent,
    InfluenceSynapse,
    mixings,
    refuse_unless_soft_and_detached,
)
from ratebp.needs import Need
from ratebp.neurons import LIF, Recurrent
from ratebp.phases import StepContext
from ratebp.roles import Role
from ratebp.rules.synapses import ottt_rules
from ratebp.schedules import Loss, Result, online
from ratebp.views import View


@dataclass(frozen=True)
class Ostl(Method):
    """OSTL: the exact gradient through time within each layer, and through layers at each step.

    ::

        e[t] = h'(u[t] - threshold) P[t],   P[t] = d u[t] / d W = J[t] P[t-1] + d I[t] / d W
        dW = sum_t L[t] e[t],   L[t] = d loss(o[t], y) / T / d s[t], through the layers behind

    J[t] = d u[t] / d u[t-1] includes the synapse of a `Recurrent` layer. What is dropped is the way
    through the past of the layers behind; without norms the last spiking layer has the gradient of
    BPTT.

    Source: Bohnstingl et al. 2022, arXiv 2007.12723. In a feed-forward layer P is the trace of
    OTTT, with its assumption of a soft, detached reset, which `bind` enforces. Recurrent layers may
    have any reset. There P has N^2 M numbers a sample for M inputs of N neurons, kept from step to
    step and constant in T; each must be linear and follow a linear synapse. Deviations: a bias is a
    weight on the input 1; the readout has no leak, so no trace.
    """

    info: ClassVar = Info(
        label="OSTL",
        family="online",
        memory="constant",
        layout="single",
        loss="per_step",
        papers=("Bohnstingl et al. 2022, IEEE TNNLS, arXiv 2007.12723",),
    )
    identities: ClassVar = (
        Identity(
            "ottt_a",
            {"reset": "soft", "detach_reset": True},
            other_options={"placement": "spiking"},
        ),
        Identity(
            "bptt_s",
            {"norm": "none", "reset": "soft", "detach_reset": True},
            over="last_spiking",
            other_options={"loss_mode": "per_step"},
        ),
    )
    needs: ClassVar = (Need.SYNAPSES,)
    neurons: ClassVar = (LIF, Recurrent)

    def build(self, binding: Binding) -> dict[str, View]:
        """Give recurrent layers and their synapses influences, all others the traces of OTTT."""
        model, wiring = binding.model, binding.wiring
        refuse_unless_soft_and_detached("ostl", model)
        mixed = mixings("ostl", binding)
        plain = ottt_rules(model, wiring, "spiking")

        def neuron(each: nn.Module, path: str) -> nn.Module:
            if isinstance(each, Recurrent):
                return InfluenceRecurrent(each, mixed[path])
            return plain[Role.NEURON](each, path)

        def synapse(layer: nn.Module, path: str) -> nn.Module:
            reached = [mixed[behind] for behind in wiring.behind.get(path, ()) if behind in mixed]
            if reached and isinstance(layer, nn.Linear):
                return InfluenceSynapse(layer, reached[0])
            return plain[Role.SYNAPSE](layer, path)

        return {"net": binding.view({Role.NEURON: neuron, Role.SYNAPSE: synapse})}

    def step(
        self, views: dict[str, View], x: Tensor, y: Tensor, loss: Loss, context: StepContext
    ) -> Result:
        """Run each step forward and backward, accumulating gradients."""
        return online(views["net"], x, y, loss, context)
