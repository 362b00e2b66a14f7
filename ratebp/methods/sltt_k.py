"""Spatial learning through time on K random time steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.utils._mode_utils import no_dispatch

from ratebp.errors import BindError
from ratebp.method import Binding, Identity, Info, Method, count, option
from ratebp.neurons import LIF, Delay
from ratebp.phases import StepContext
from ratebp.rules.neurons.delay import detached_neuron
from ratebp.rules.sharing.rules import bit_rules
from ratebp.schedules import Loss, Result, sampled
from ratebp.views import View


@dataclass(frozen=True)
class SlttK(Method):
    """SLTT-K: all T steps run forward, K of them, drawn anew for each batch, also backward.

    ::

        dW = (1/T) sum over t in S of g_u[t] s_in[t]^T,   S: K of T steps, uniform, no replacement

    Source: Meng et al., ICCV 2023, arXiv 2302.14311. The draw uses torch's global generator. The
    published code needs mixed precision; this does not.

    Options:
        k: learning steps per batch, at most T.
        scale: "published" divides each step's loss by T, so the expected gradient is K/T of SLTT's;
            "unbiased" divides by K.
    """

    info: ClassVar = Info(
        label="SLTT-K",
        family="online",
        memory="constant",
        layout="single",
        loss="per_step",
        papers=("Meng et al. 2023, ICCV, arXiv 2302.14311",),
    )
    identities: ClassVar = (
        Identity("sltt", {"timesteps": 3}, options={"k": 3}),
        Identity("sltt", {"timesteps": 3}, options={"k": 3, "scale": "unbiased"}),
        Identity("bptt_s", {"timesteps": 1}),
    )

    neurons: ClassVar = (LIF, Delay)

    k: int = count(1)
    scale: str = option("published", "published", "unbiased")

    def build(self, binding: Binding) -> dict[str, View]:
        """Swap neurons for single steps without a gradient through time."""
        if self.k > binding.timesteps:
            raise BindError(
                f"sltt_k cannot draw k={self.k} of timesteps={binding.timesteps}; legal: 1 to "
                f"{binding.timesteps}. Use a smaller k, or sltt, which learns from every step."
            )
        rules = bit_rules(binding.model, binding.wiring, detached_neuron)
        return {"net": binding.view(rules)}

    def step(
        self, views: dict[str, View], x: Tensor, y: Tensor, loss: Loss, context: StepContext
    ) -> Result:
        """Run all steps forward, and K drawn ones backward."""
        with no_dispatch():  # the draw decides what is run, also where only shapes are computed
            drawn = set(torch.randperm(x.shape[0])[: self.k].tolist())
        scale = 1 / (x.shape[0] if self.scale == "published" else self.k)
        return sampled(views["net"], x, y, loss, context, drawn, scale)
