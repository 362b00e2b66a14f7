"""Forward propagation through time: a running average of the weights, and steps run again."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ratebp.rules.neurons.lif import StepLIF
from ratebp.views import View


class Proximal:
    """The regulariser that keeps the updates of successive time steps together.

    ::

        R_t(W) = alpha/2 |W - M_t - g_t / (2 alpha)|^2,   M_1 = W_1,   g_1 = 0
        M_{t+1} = (M_t + W_{t+1}) / 2 - g_{t+1} / (2 alpha)

    with ``g_{t+1}`` the gradient of the step's loss at the updated weights.

    Args:
        parameters: W; those that need no gradient are left out.
        alpha: strength, positive.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], alpha: float) -> None:
        """Start at the weights as they are."""
        self.alpha = alpha
        self.weights = [p for p in parameters if p.requires_grad]
        self.means = [p.detach().clone() for p in self.weights]
        self.slopes = [torch.zeros_like(p) for p in self.means]

    def term(self) -> Tensor:
        """Return a scalar whose gradient is that of ``R_t`` at the current weights.

        A term of the loss, not an addition to `.grad`, so that a gradient scaler and DDP treat it
        as they treat the loss.
        """
        return torch.stack(
            [(w * c).sum() for w, c in zip(self.weights, self._gradient(), strict=True)]
        ).sum()

    def stationary(self) -> list[Tensor]:
        """Return ``g_{t+1} = g_t / 2 - alpha (W_{t+1} - M_t)``: true where the update is exact.

        The update then minimises the loss plus ``R_t``, whose gradients cancel.
        """
        return [-c for c in self._gradient()]

    def slopes_of(self, loss: Tensor) -> list[Tensor]:
        """Return the gradient of `loss` by the weights, without adding it to `.grad`."""
        return list(torch.autograd.grad(loss, self.weights, materialize_grads=True))

    def advance(self, slopes: list[Tensor]) -> None:
        """Go on to the next step, after the update; `slopes` are ``g_{t+1}``."""
        with torch.no_grad():
            self.means = [
                (m + w) / 2 - g / (2 * self.alpha)
                for m, w, g in zip(self.means, self.weights, slopes, strict=True)
            ]
        self.slopes = slopes

    def _gradient(self) -> list[Tensor]:
        with torch.no_grad():
            return [
                self.alpha * (w - m) - g / 2
                for w, m, g in zip(self.weights, self.means, self.slopes, strict=True)
            ]


def potentials(view: View) -> list[Tensor | None]:
    """Return the potentials of a view's `StepLIF` neurons, in the order of its modules."""
    return [m.potential for m in _neurons(view)]


def put_potentials(view: View, values: list[Tensor | None]) -> None:
    """Start the view's next step from `values`, taken from a view of the same model."""
    for neuron, value in zip(_neurons(view), values, strict=True):
        neuron.potential = value


def _neurons(view: View) -> list[StepLIF]:
    return [m for m in view.module.modules() if isinstance(m, StepLIF)]
