"""Differentiation on spike representation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from ratebp.method import Binding, Identity, Info, Method, option
from ratebp.methods.dsr._represented import FORMS, RepresentedLIF, RepresentedTLIF
from ratebp.needs import Need
from ratebp.neurons import LIF, TLIF
from ratebp.oracles import clipped_rates, evenly_clipped_rates
from ratebp.phases import StepContext
from ratebp.roles import Role
from ratebp.rules.neurons.lif import refuse_hard_reset
from ratebp.schedules import Loss, Result, layer_by_layer, whole_sequence
from ratebp.views import View


@dataclass(frozen=True)
class Dsr(Method):
    """DSR: spikes forward; backward through rates as clipped linear functions of mean currents.

    ::

        x = sum_t w[t] I[t],   r = clip(x / threshold, 0, 1),   slope = dr/dx
        dI[t] = slope sum_k w[k] ds[k]  (the same for every t),   dW = sum_t dI[t] s_in[t]^T

    Source: Meng et al., CVPR 2022, arXiv 2205.00459. The forward is that of the model's neurons, so
    the published scales are read in its terms: a spike counts 1 (there: the threshold), the current
    enters whole (there: times 1 - decay, which makes the slope 1/tau), firing is at the threshold
    (there: at a half or a third of it, that is from a potential that starts above zero).
    The paper trains one threshold a layer: those of `TLIF` neurons. Followed by a `LearnedScale`,
    their gradient is the published one, that of spikes where the mean current exceeds the
    threshold. Soft reset only. Norms are ordinary ones over T*B.

    Options:
        form: "lif" weights steps by decay^(T-t), with the decay of each neuron; "if" weights all
            alike, as suits neurons without a leak, and passes gradients at the bounds of the clip.
    """

    info: ClassVar = Info(
        label="DSR",
        family="rate",
        memory="linear",
        layout="multi",
        loss="mean",
        papers=("Meng et al. 2022, CVPR, arXiv 2205.00459",),
    )
    identities: ClassVar = (
        Identity(oracle=clipped_rates, when={"reset": "soft"}),
        Identity(oracle=evenly_clipped_rates, when={"reset": "soft"}, options={"form": "if"}),
    )
    needs: ClassVar = (Need.ADDITIVE,)

    neurons: ClassVar = (LIF, TLIF)

    form: str = option("lif", *FORMS)

    def build(self, binding: Binding) -> dict[str, View]:
        """Swap neurons for those with a closed-form backward."""
        refuse_hard_reset("dsr", binding.model)
        slope, weights = FORMS[self.form]

        def neuron(each: LIF | TLIF, path: str) -> nn.Module:
            if isinstance(each, TLIF):
                return RepresentedTLIF(each, binding.timesteps, self.form)
            return RepresentedLIF(each, binding.timesteps, slope, weights)

        return {"net": binding.view({Role.NEURON: neuron})}

    def step(
        self, views: dict[str, View], x: Tensor, y: Tensor, loss: Loss, context: StepContext
    ) -> Result:
        """Run all layers over all steps forward, then one backward."""
        return whole_sequence(layer_by_layer, views["net"], x, y, loss, context, "mean")
