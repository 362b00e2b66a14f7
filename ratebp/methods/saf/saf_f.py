"""Spike accumulation forwarding with one loss at the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ratebp.method import Binding, Identity, Info, Method
from ratebp.methods.saf._accumulation import LogitsAndRate, accumulated_view
from ratebp.needs import Need
from ratebp.oracles import rates_with_the_last_slope
from ratebp.phases import StepContext
from ratebp.schedules import Loss, Result
from ratebp.views import View


@dataclass(frozen=True)
class SafF(Method):
    """SAF-F: layers hand on accumulated spikes; one backward, through the last step alone.

    ::

        m = sum_t decay^(T-t) o[t] / e[T],   e[T] = sum_t decay^(T-t),   L = loss(m, y)
        r = a[T] / e[T],   dr_l / d(W r_{l-1} + b) = h'(u_l[T] - threshold)

    Source: Saiin et al., TMLR 2024, arXiv 2310.02772. The loss is that of the exponentially
    weighted mean of the logits, which a linear readout makes of the weighted firing rates ``r``.
    The gradient is that of the network of rates above, with the slope taken at the last step. A
    spike representation writes a neuron as ``r = phi((W r_in + b) / threshold)``; with ``phi' =
    h'`` its slope is 1/threshold of this one, once per neuron between a weight and the loss (the
    factor of the paper's Theorem 2, which is read here as one per neuron).

    Restrictions as for `saf_e`. `Result.logits` are the plain mean over the steps.
    """

    info: ClassVar = Info(
        label="SAF-F",
        family="rate",
        memory="constant",
        layout="single",
        loss="weighted_mean",
        papers=("Saiin et al. 2024, TMLR, arXiv 2310.02772",),
        norms=False,
        inputs=False,
    )
    identities: ClassVar = (
        Identity(
            oracle=rates_with_the_last_slope,
            when={"norm": "none", "reset": "soft", "detach_reset": True},
        ),
        Identity("bptt_s", {"timesteps": 1, "norm": "none", "reset": "soft", "detach_reset": True}),
    )
    needs: ClassVar = (Need.SYNAPSES, Need.SINGLE)

    def build(self, binding: Binding) -> dict[str, View]:
        """Make the view on accumulations, or refuse what they cannot cross."""
        return {"net": accumulated_view("saf_f", binding, outside=LogitsAndRate)}

    def step(
        self, views: dict[str, View], x: Tensor, y: Tensor, loss: Loss, context: StepContext
    ) -> Result:
        """Run all steps forward, the last one with a graph, then one backward through it."""
        net, total = views["net"], None
        with net.sequence():
            with context.phase("forward"):
                for t, now in enumerate(x.unbind(0), start=1):
                    with torch.set_grad_enabled(t == x.shape[0]):
                        logits, mean = net(now).unbind(0)
                    total = logits.detach() if total is None else total + logits.detach()
                value = loss(mean, y)
            with context.phase("backward"):
                context.backward(value)
        assert total is not None
        return Result(value.detach(), total / x.shape[0])
