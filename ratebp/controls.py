"""Controls: methods that train on one frame, without time, and what they bind to.

What they minimise is not the spiking network's loss over T steps. So that their figures are those
of what they do run, `Bound.plain` is their own forward without a graph. It follows the model's
training flags, as all views do: after ``model.eval()`` it is their inference.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ratebp.checks import of_samples
from ratebp.method import Bound, Method
from ratebp.schedules import layer_by_layer, mean_input


def mean_frame(x: Tensor) -> Tensor:
    """Return the mean over time of ``x [T, B, ...]`` as a sequence of one step ``[1, B, ...]``."""
    return mean_input(x).unsqueeze(0)


class FrameBound(Bound):
    """A bound control: `plain` is the forward that it trains."""

    def plain(self, x: Tensor) -> Tensor:
        """Run the control's own forward, without a graph.

        Args:
            x: inputs, time-major ``[T, B, ...]``.

        Returns:
            Mean logits ``[B, K]``.
        """
        self._check(x)
        net = self._views["net"]
        with torch.no_grad(), net.sequence(), self._clean(x):
            logits = torch.stack(layer_by_layer(net, self.control.frames(x))).mean(0)
            return of_samples(logits, x.shape[1])

    @property
    def control(self) -> Control:
        """Return the method that was bound."""
        assert isinstance(self.method, Control)
        return self.method


class Control(Method):
    """Base of the controls: a view "net" run layer by layer on `frames` of the input."""

    def frames(self, x: Tensor) -> Tensor:
        """Return the sequence that is run instead of ``x [T, B, ...]``: the mean frame."""
        return mean_frame(x)

    @property
    def bound_class(self) -> type[Bound]:
        """What `bind` returns: a `FrameBound`."""
        return FrameBound
