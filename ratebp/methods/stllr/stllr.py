"""Spike-timing-dependent temporal local learning."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from ratebp.errors import OptionError
from ratebp.method import Binding, Identity, Info, Method
from ratebp.methods.stllr._eligibility import (
    TwoTraceLIF,
    TwoTraceSynapse,
    refuse_unless_halves_are_alike,
)
from ratebp.needs import Need
from ratebp.phases import StepContext
from ratebp.roles import Role
from ratebp.rules import Trace, TracedSynapse
from ratebp.schedules import Loss, Result, online
from ratebp.views import View


@dataclass(frozen=True)
class Stllr(Method):
    """S-TLLR: as OTTT, with a second term for inputs that come after the neuron was near firing.

    ::

        dW = sum_t d[t] (alpha_post h[t] a[t] + alpha_pre q[t-1] x[t])^T,   h = h'(u - threshold)
        a[t] = lambda_x a[t-1] + x[t],   q[t] = lambda_y q[t-1] + h[t],   d_in[t] = W^T (d[t] h[t])

    Source: Apolinario and Roy, TMLR 2025, arXiv 2306.15220. h is the slope of the neuron's own
    surrogate (published: "fast_sigmoid" with alpha 100); the defaults are published ones (DVS
    Gesture). Deviations of the published code: its biases use no trace, here a bias is a weight on
    the input 1; it can leave out the first steps' losses and take a fixed random feedback, which
    are not offered. A readout has no neuron behind it and learns as in OTTT, with lambda_x. Norms
    are refused: the second term is that of a weight whose current goes straight to its neuron.

    Options:
        alpha_post: factor of the causal term of weights into neurons.
        alpha_pre: factor of the other; 0 with lambda_x equal to the neurons' decay is OTTT.
        lambda_x: decay of the presynaptic trace, in [0, 1].
        lambda_y: decay of the postsynaptic trace, in [0, 1].
    """

    info: ClassVar = Info(
        label="S-TLLR",
        family="online",
        memory="constant",
        layout="single",
        loss="per_step",
        papers=("Apolinario and Roy 2025, TMLR, arXiv 2306.15220",),
        norms=False,
    )
    identities: ClassVar = (
        Identity("bptt_s", {"timesteps": 1, "norm": "none"}),
        Identity(
            "ottt_a",
            {"decay": 0.5, "norm": "none"},
            options={"alpha_pre": 0.0, "lambda_x": 0.5},
        ),
        Identity("sltt", {"norm": "none"}, options={"alpha_pre": 0.0, "lambda_x": 0.0}),
    )
    needs: ClassVar = (Need.SAMPLES, Need.SYNAPSES)

    alpha_post: float = 1.0
    alpha_pre: float = -1.0
    lambda_x: float = 0.75
    lambda_y: float = 0.2

    def __post_init__(self) -> None:
        """Refuse factors that are no numbers and decays outside [0, 1]."""
        super().__post_init__()
        if not (math.isfinite(self.alpha_post) and math.isfinite(self.alpha_pre)):
            raise OptionError(
                f"Stllr.alpha_post={self.alpha_post!r} and alpha_pre={self.alpha_pre!r} must be "
                "finite numbers."
            )
        for name in ("lambda_x", "lambda_y"):
            if not 0 <= getattr(self, name) <= 1:
                raise OptionError(
                    f"Stllr.{name}={getattr(self, name)!r} must be a number in [0, 1]."
                )

    def build(self, binding: Binding) -> dict[str, View]:
        """Give synapses and neurons their traces, or refuse what lies between them."""
        refuse_unless_halves_are_alike("stllr", binding.code, binding.wiring)

        def synapse(layer: nn.Module, path: str) -> nn.Module:
            if not binding.wiring.behind.get(path):
                return TracedSynapse(layer, Trace(self.lambda_x))
            return TwoTraceSynapse(layer, self.lambda_x, self.alpha_post, self.alpha_pre)

        neuron: Any = lambda lif, _: TwoTraceLIF(lif, self.lambda_y)  # noqa: E731
        return {"net": binding.view({Role.NEURON: neuron, Role.SYNAPSE: synapse})}

    def step(
        self, views: dict[str, View], x: Tensor, y: Tensor, loss: Loss, context: StepContext
    ) -> Result:
        """Run each step forward and backward, accumulating gradients."""
        return online(views["net"], x, y, loss, context)
