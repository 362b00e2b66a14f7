"""Rate-based backpropagation, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ratebp.method import Binding, Identity, Info, Method, option
from ratebp.needs import Need
from ratebp.oracles import measured_rates
from ratebp.phases import StepContext
from ratebp.rules import RecordNeuronScan, RecordNormScan, RecordSynapseScan, rate_views
from ratebp.schedules import GRAD_SCALES, Loss, Result, layer_by_layer, two_pass
from ratebp.views import View


@dataclass(frozen=True)
class RateM(Method):
    """rate_M: a spike pass without a graph, then one backward through the mean rates.

    ::

        r = (1/T) sum_t s[t],   dr/dc = g = (1/T) sum_t h'(u[t] - threshold) rho[t]
        dW = dc r_in^T,   dr_in = W^T dc

    Source: Yu et al., NeurIPS 2024, arXiv 2410.11488. Batch norm over T*B, with the spike pass's
    statistics in the rate pass (appendix B.3). The published code convolves the rates again; a
    linear map commutes with the mean, so that value is recorded in the spike pass instead: T+2
    network forwards of arithmetic, not T+3. Where max pooling stands between two layers, the
    recorded value is the mean over steps of the pooled input's map (published: the map of the
    pooled rates); gradients take the arg-max of the rates in both.

    Options:
        pre_activations: "kept" keeps the mean pre-activation of each norm for the backward;
            "recomputed" keeps none and convolves the rates again there, where a norm stands behind
            a convolution or matrix product: half of what is kept, one network forward more.
        grad_scale: "one" gives the gradient of the mean output's loss; "inverse_t" divides it by
            T, the scale that the published recipe trains with.
    """

    info: ClassVar = Info(
        label="Rate-BP (multi-step)",
        family="rate",
        memory="constant",
        layout="multi",
        loss="mean",
        papers=("Yu et al. 2024, NeurIPS, arXiv 2410.11488",),
    )
    identities: ClassVar = (
        Identity(oracle=measured_rates),
        Identity("bptt_m", {"timesteps": 1}),
        Identity("rate_m", options={"pre_activations": "recomputed"}),
        Identity("rate_m", options={"grad_scale": "inverse_t"}, scale="inverse_t"),
    )
    needs: ClassVar = (Need.REPEATABLE, Need.STILL, Need.RATES)

    pre_activations: str = option("kept", "kept", "recomputed")
    grad_scale: str = option("one", *GRAD_SCALES)

    def build(self, binding: Binding) -> dict[str, View]:
        """Make the spike view and the rate view, twin leaves sharing their records."""
        return rate_views(
            binding,
            RecordNeuronScan,
            RecordSynapseScan,
            RecordNormScan,
            recompute=self.pre_activations == "recomputed",
        )

    def step(
        self, views: dict[str, View], x: Tensor, y: Tensor, loss: Loss, context: StepContext
    ) -> Result:
        """Run the spike pass, the rate pass and one backward."""
        scale = GRAD_SCALES[self.grad_scale](x.shape[0])
        return two_pass(layer_by_layer, views["spikes"], views["rates"], x, y, loss, context, scale)
