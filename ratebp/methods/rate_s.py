"""Rate-based backpropagation, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ratebp.method import Binding, Identity, Info, Method, option
from ratebp.needs import Need
from ratebp.phases import StepContext
from ratebp.rules import (
    RecordNeuronStep,
    RecordNormLastStep,
    RecordNormStep,
    RecordSynapseStep,
    rate_views,
)
from ratebp.schedules import GRAD_SCALES, Loss, Result, two_pass
from ratebp.views import View


def _all_steps(view: View, x: Tensor) -> tuple[Tensor, ...]:
    # No output is kept: the records are what the spike pass is for.
    with view.sequence():
        for now in x.unbind(0):
            view(now)
    return ()


@dataclass(frozen=True)
class RateS(Method):
    """rate_S: the spike pass runs step by step, so that no tensor of T steps ever exists.

    ::

        r = (1/T) sum_t s[t],   dr/dc = g = (1/T) sum_t h'(u[t] - threshold) rho[t]
        dW = dc r_in^T,   dr_in = W^T dc

    Source: Yu et al., NeurIPS 2024, arXiv 2410.11488. Batch norm per step, with the time
    averages of the statistics in the rate pass. The paper's average is over full batch
    Jacobians; what is kept is ``mean_t xhat_t`` and ``mean_t 1/sigma_t``, exact for the norm's
    own parameters and close for the rest. The rate pass's input is the mean over steps
    (published: the last step's input).

    Options:
        statistics: "mean" over the steps, as in the paper; "last_step" with eps added twice, as the
            published code computes.
        grad_scale: "one" gives the gradient of the mean output's loss; "inverse_t" divides it by
            T, the scale that the published recipe trains with.
    """

    info: ClassVar = Info(
        label="Rate-BP (single-step)",
        family="rate",
        memory="constant",
        layout="single",
        loss="mean",
        papers=("Yu et al. 2024, NeurIPS, arXiv 2410.11488",),
    )
    identities: ClassVar = (
        Identity("bptt_s", {"timesteps": 1}),
        Identity("rate_m", {"norm": "none"}),
        Identity("rate_s", options={"grad_scale": "inverse_t"}, scale="inverse_t"),
    )
    needs: ClassVar = (Need.REPEATABLE, Need.STILL, Need.RATES)

    statistics: str = option("mean", "mean", "last_step")
    grad_scale: str = option("one", *GRAD_SCALES)

    def build(self, binding: Binding) -> dict[str, View]:
        """Make the spike view and the rate view, twin leaves sharing their records."""
        norm = RecordNormStep if self.statistics == "mean" else RecordNormLastStep
        return rate_views(
            binding,
            RecordNeuronStep,
            RecordSynapseStep,
            norm,
        )

    def step(
        self, views: dict[str, View], x: Tensor, y: Tensor, loss: Loss, context: StepContext
    ) -> Result:
        """Run the spike pass, the rate pass and one backward."""
        scale = GRAD_SCALES[self.grad_scale](x.shape[0])
        return two_pass(_all_steps, views["spikes"], views["rates"], x, y, loss, context, scale)
