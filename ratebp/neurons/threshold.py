"""The neuron with a threshold that is learned."""

from __future__ import annotations

import torch
from torch import nn

from ratebp.dynamics import Dynamics
from ratebp.legal import positive
from ratebp.neurons.base import Neuron, shown
from ratebp.surrogates import Surrogate


class TLIF(Neuron):
    """A layer of LIF neurons with one trained threshold; soft reset, without a leak by default.

    ::

        u[t] = decay * (u[t-1] - threshold * s[t-1]) + I[t],   s[t] = 1 if u[t] >= threshold else 0

    A threshold below 0.01 counts as 0.01. Where spikes are to be as large as the threshold, as in
    the paper, ``ratebp.norms.LearnedScale(neuron.threshold)`` follows the neuron.

    Source: Meng et al., CVPR 2022, arXiv 2205.00459 (DSR), where 6 is the start.

    Args:
        decay: lambda = 1 - 1/tau, in [0, 1].
        threshold: the threshold before training, positive.
        detach_reset: whether the spike inside the reset is a constant in the backward.
        surrogate: name of the backward shape, see `ratebp.surrogates`.
        alpha: sharpness of that shape.

    Attributes:
        threshold: the parameter, a scalar.

    Raises:
        OptionError: for a constant outside its range or an unknown name.
    """

    def __init__(
        self,
        decay: float = 1.0,
        threshold: float = 1.0,
        detach_reset: bool = True,
        surrogate: str = "sigmoid",
        alpha: float = 4.0,
    ) -> None:
        """Check the constants and set the parameter."""
        super().__init__()
        positive("threshold", threshold)
        self.start = Dynamics(decay, threshold, "soft", detach_reset, Surrogate(surrogate, alpha))
        self.threshold = nn.Parameter(torch.tensor(float(threshold)))

    def extra_repr(self) -> str:
        """Show the constants in the model's printout."""
        return f"decay={self.start.decay}, {shown(self.start)}, trained"
