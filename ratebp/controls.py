"""Controls: methods that train on one frame, without time.

What they minimise is not the spiking network's loss over T steps. So that their figures are those
of what they do run, `Bound.plain` is their own forward without a graph. It follows the model's
training flags, as all views do: after ``model.eval()`` it is their inference.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor

from ratebp.binding import Binding
from ratebp.inference import infer
from ratebp.method import Method
from ratebp.network import Network
from ratebp.schedules import layer_by_layer, mean_input
from ratebp.structures import Output
from ratebp.views import View


def mean_frame(x: Tensor) -> Tensor:
    """Return the mean over time of ``x [T, B, ...]`` as a sequence of one step ``[1, B, ...]``."""
    return mean_input(x).unsqueeze(0)


class Control(Method):
    """Base of the controls: a view "net" run layer by layer on `frames` of the input."""

    def frames(self, x: Tensor) -> Tensor:
        """Return the sequence that is run instead of ``x [T, B, ...]``: the mean frame."""
        return mean_frame(x)

    def network(self, binding: Binding, views: dict[str, View]) -> Network:
        """Return the network that the step trains, on `frames`; `ratebp.infer` predicts."""

        def forward(net: View, x: Tensor) -> tuple[Output, ...]:
            with net.sequence():
                return layer_by_layer(net, self.frames(x))

        return Network(views["net"], forward, partial(infer, binding.model))
