"""Integer training: several levels of activation at once, unfolded to spikes at inference."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from ratebp.controls import Control
from ratebp.inputs import each_of
from ratebp.method import Binding, Identity, Info, option
from ratebp.methods.sfa._integer import IntegerNeuron, UnfoldedNeuron, frozen_affine
from ratebp.needs import Need
from ratebp.network import Network
from ratebp.oracles import rounded_levels
from ratebp.phases import StepContext
from ratebp.roles import Role
from ratebp.rules.neurons.lif import refuse_hard_reset
from ratebp.schedules import Loss, Result, layer_by_layer, whole_sequence
from ratebp.structures import Output, mean_of
from ratebp.views import Rule, View


@dataclass(frozen=True)
class Sfa(Control):
    """Spike firing approximation: train one pass of integers 0..D, run D binary steps; D is T.

    ::

        train:  r = floor(clip(D u / threshold, 0, D)) / D,   dr/du = 1 / threshold in the clip
        infer:  v[1] = sum_d I[d],   s[d] = H(v[d] - threshold),   v[d+1] = v[d] - threshold s[d]

    so that ``mean_d s[d] = r``: exactly, in eval mode, where all between the neurons is affine or a
    maximum (a neuron's spikes come first). A neuron waits for the D steps of the layer before.

    `Bound.infer` runs the unfolded network and `Bound.plain` the integer one; `Result.logits` are
    the latter's. A neuron gives its threshold alone: it is an integrate-and-fire neuron with soft
    reset, whatever decay the model has, so `ratebp.infer` is of no meaning for the trained weights.
    Time and memory do not know T. Inputs that change over time are seen as their mean.

    Source: Yao et al., TPAMI 2025, arXiv 2411.16061; without the division by D it is the I-LIF of
    Luo et al., ECCV 2024, arXiv 2407.20708. Divided, biases need no share per step. Deviations: u
    is the current of each of the D steps, as a spiking model means it, so that levels are threshold
    / D apart (there: a threshold apart in the current of all steps; a norm takes up the factor);
    the codes round, which is an option here; one integer step, where theirs may have several with a
    leak between them; D is not an option of its own.

    Options:
        rounding: "floor" starts the unfolded neurons at rest; "nearest", as the codes have it,
            starts them at half a threshold: levels are rounded, a tie up, or where nothing is
            unfolded to the even level, as in the codes.
        inference: "spikes" predicts by the unfolded network; "integers" by the integers themselves,
            as the codes for static images do. That allows products of signals, as in attention,
            which single spikes do not unfold to: the product of means is no mean of products.
    """

    info: ClassVar = Info(
        label="SFA (integer training)",
        family="integer",
        memory="constant",
        layout="multi",
        loss="mean",
        papers=(
            "Yao et al. 2025, TPAMI, arXiv 2411.16061",
            "Luo et al. 2024, ECCV, arXiv 2407.20708",
        ),
    )
    identities: ClassVar = (
        Identity(oracle=rounded_levels, when={"reset": "soft"}),
        Identity("dsr", {"timesteps": 1, "reset": "soft"}, other_options={"form": "if"}),
    )
    needs: ClassVar = (Need.LEVELS,)

    rounding: str = option("floor", "floor", "nearest")
    inference: str = option("spikes", "spikes", "integers")

    def __post_init__(self) -> None:
        """Check the options; what is not unfolded may hold any operation."""
        super().__post_init__()
        if self.inference == "integers":
            object.__setattr__(self, "needs", ())

    def build(self, binding: Binding) -> dict[str, View]:
        """Make the view of the integers, and that of the spikes that they unfold to."""
        refuse_hard_reset("sfa", binding.model)
        levels = binding.timesteps
        norm: Rule = frozen_affine
        start = 0.5 if self.rounding == "nearest" else 0.0
        even = self.rounding == "nearest" and self.inference == "integers"
        integers: Rule = lambda lif, _: IntegerNeuron(lif, levels, start, even=even)  # noqa: E731
        unfolded: Rule = lambda lif, _: UnfoldedNeuron(lif, levels, start)  # noqa: E731
        net = replace(binding, timesteps=1).view({Role.NEURON: integers, Role.NORM: norm})
        if self.inference == "integers":
            return {"net": net}
        spikes = binding.view({Role.NEURON: unfolded, Role.NORM: norm}, builds_graph=False)
        return {"net": net, "spikes": spikes}

    def network(self, binding: Binding, views: dict[str, View]) -> Network:
        """Return the network of integers; that of `inference` predicts, for the mean input."""
        whole = self.inference == "integers"
        net = views["net" if whole else "spikes"]

        def unfolded(frame: Tensor) -> Tensor:
            return frame.expand(binding.timesteps, *frame.shape[1:])

        def predict(x: Tensor) -> Output:
            net.refresh()
            net.module.eval()
            frames = self.frames(x)
            with torch.no_grad():
                return mean_of(layer_by_layer(net, frames if whole else each_of(frames, unfolded)))

        return replace(super().network(binding, views), infer=predict)

    def step(
        self, views: dict[str, View], x: Tensor, y: Tensor, loss: Loss, context: StepContext
    ) -> Result:
        """Run one pass of integers forward and backward."""
        return whole_sequence(
            layer_by_layer, views["net"], self.frames(x), y, loss, context, "mean"
        )
