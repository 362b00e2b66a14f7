"""The same network without spikes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from ratebp.controls import Control
from ratebp.inference import mean_logits
from ratebp.method import Binding, Identity, Info, option
from ratebp.network import Network
from ratebp.oracles import rectifiers, rectifiers_on_each_step
from ratebp.phases import StepContext
from ratebp.roles import Role
from ratebp.schedules import Loss, Result, layer_by_layer, whole_sequence
from ratebp.structures import Output
from ratebp.views import Leaf, Rule, View


class _Rectify(torch.autograd.Function):
    """Keeps a mask, not the output, which a model may change in place."""

    @staticmethod
    def forward(ctx: Any, current: Tensor) -> Tensor:
        ctx.save_for_backward(current > 0)
        return current.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (positive,) = ctx.saved_tensors
        out: Tensor = grad * positive
        return out


class Rectifier(Leaf):
    """``r = max(0, current)``; the gradient at 0 is 0."""

    def forward(self, current: Tensor) -> Tensor:
        """Rectify; any shape."""
        out: Tensor = _Rectify.apply(current)  # type: ignore[no-untyped-call]
        return out


@dataclass(frozen=True)
class Ann(Control):
    """Control: every neuron replaced by a rectifier, trained by ordinary backpropagation.

    ::

        r = max(0, W r_in + b),   r_in of the first layer: (1/T) sum_t x[t],   L = loss(o, y)

    The difference to a spiking method is what it costs not to spike in real numbers. Source: none;
    the ordinary rectifier network. The neuron's constants play no part. `Result.logits` and
    `Bound.plain` are those of the rectifier network. The trained weights belong to it: predict
    with `Bound.infer`; `ratebp.infer`, which lets the network spike, is of no meaning for them.

    Options:
        frames_seen: "mean" runs the mean of the input's steps; "each" runs every step and takes the
            mean of the outputs, for which memory and time grow with T.
    """

    info: ClassVar = Info(
        label="ANN (control)",
        family="control",
        memory="constant",
        layout="multi",
        loss="mean",
        papers=("Nair and Hinton 2010, ICML",),
    )
    identities: ClassVar = (
        Identity(oracle=rectifiers),
        Identity(oracle=rectifiers_on_each_step, options={"frames_seen": "each"}),
    )

    frames_seen: str = option("mean", "mean", "each")

    def frames(self, x: Tensor) -> Tensor:
        """Return the mean frame, or all of them."""
        return super().frames(x) if self.frames_seen == "mean" else x

    def build(self, binding: Binding) -> dict[str, View]:
        """Swap neurons for rectifiers."""
        steps = binding.timesteps if self.frames_seen == "each" else 1
        rules: dict[Role, Rule] = {Role.NEURON: lambda lif, _: Rectifier()}
        return {"net": replace(binding, timesteps=steps).view(rules)}

    def network(self, binding: Binding, views: dict[str, View]) -> Network:
        """Return the rectifier network, which is also what predicts."""
        net = views["net"]

        def predict(x: Tensor) -> Output:
            net.refresh()
            return mean_logits(net, self.frames(x))

        return replace(super().network(binding, views), infer=predict)

    def step(
        self, views: dict[str, View], x: Tensor, y: Tensor, loss: Loss, context: StepContext
    ) -> Result:
        """Run the rectifier network forward and backward."""
        return whole_sequence(
            layer_by_layer, views["net"], self.frames(x), y, loss, context, "mean"
        )
