"""Neurons whose decays are their own: spiking ones, and the leaky integrator of a readout."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ratebp.dynamics import Dynamics
from ratebp.errors import OptionError
from ratebp.legal import number, whole
from ratebp.neurons.base import Neuron, shown
from ratebp.surrogates import Surrogate

FASTEST, SLOWEST = math.exp(-1 / 5), math.exp(-1 / 25)
"""Decays of time constants of 5 and 25 time steps."""


class _OwnDecays(Neuron):
    """Base of neurons with one trained decay a feature, dimension 1 of the input.

    Args:
        features: N.
        fastest: the least decay; a parameter below it counts as it.
        slowest: the largest decay, likewise.

    Attributes:
        decay: the parameter ``[N]``, drawn uniformly between the two.
    """

    def __init__(self, features: int, fastest: float, slowest: float) -> None:
        """Draw the decays from torch's global generator."""
        super().__init__()
        number("fastest", fastest, 0, 1)
        number("slowest", slowest, 0, 1)
        if fastest > slowest:
            raise OptionError(f"fastest={fastest} is above slowest={slowest}. Legal: at most that.")
        self.fastest, self.slowest = fastest, slowest
        self.decay = nn.Parameter(
            torch.empty(whole("features", features)).uniform_(fastest, slowest)
        )

    def share(self, current: Tensor) -> Tensor:
        """Return ``1 - decay`` in a shape that goes with `current`, ``[B, N, ...]``.

        Raises:
            OptionError: where dimension 1 has another size than N.
        """
        if current.dim() < 2 or current.shape[1] != len(self.decay):
            raise OptionError(
                f"{type(self).__name__} has decays for {len(self.decay)} features, but gets "
                f"{tuple(current.shape)}, whose dimension 1 must be of that size. Make it with "
                "features=... of the layer before."
            )
        kept = self.decay.clamp(self.fastest, self.slowest)
        return (1 - kept).view(-1, *[1] * (current.dim() - 2))

    def extra_repr(self) -> str:
        """Show the constants in the model's printout."""
        return f"{len(self.decay)}, fastest={self.fastest:.4g}, slowest={self.slowest:.4g}"


class HeterogeneousLIF(_OwnDecays):
    """A layer of LIF neurons, each with a trained decay of its own; dimension 1 is the neurons.

    ::

        u[t] = d r[t-1] + (1 - d) I[t],   s[t] = 1 if u[t] >= threshold else 0
        r[t] = u[t] - threshold s[t]   (reset="soft"),   u[t] (1 - s[t])   (reset="hard")
        d = clip(decay, fastest, slowest)

    Source: Bittar and Garner, Frontiers in Neuroscience 2022, whose published code starts the
    potential at random, here it starts at rest; a boxcar surrogate of width 1 and a reset with a
    gradient there: ``surrogate="rectangle", alpha=1.0, detach_reset=False``.

    Args:
        features: how many neurons.
        fastest: the least decay, in [0, 1]; exp(-1/5) by default.
        slowest: the largest decay, in [0, 1]; exp(-1/25) by default.
        threshold: firing threshold, positive.
        reset: "soft" subtracts the threshold, "hard" sets the potential to zero.
        detach_reset: whether the spike inside the reset is a constant in the backward.
        surrogate: name of the backward shape, see `ratebp.surrogates`.
        alpha: sharpness of that shape.

    Attributes:
        decay: the parameter ``[features]``.

    Raises:
        OptionError: for a constant outside its range or an unknown name.
    """

    def __init__(
        self,
        features: int,
        fastest: float = FASTEST,
        slowest: float = SLOWEST,
        threshold: float = 1.0,
        reset: str = "soft",
        detach_reset: bool = True,
        surrogate: str = "sigmoid",
        alpha: float = 4.0,
    ) -> None:
        """Check the constants and draw the decays."""
        super().__init__(features, fastest, slowest)
        # Of decay 1: its `carry` is the reset alone.
        self.undecayed = Dynamics(1.0, threshold, reset, detach_reset, Surrogate(surrogate, alpha))

    def extra_repr(self) -> str:
        """Show the constants in the model's printout."""
        return f"{super().extra_repr()}, {shown(self.undecayed)}"


class LI(_OwnDecays):
    """A layer of leaky integrators that never spike: the readout of many recurrent networks.

    ::

        u[t] = d u[t-1] + (1 - d) I[t],   u[0] = 0,   d = clip(decay, fastest, slowest)

    Its output is the potential u[t], whose mean over time is what losses of the mean output take.

    Args:
        features: how many integrators.
        fastest: the least decay, in [0, 1]; exp(-1/5) by default.
        slowest: the largest decay, in [0, 1]; exp(-1/25) by default.

    Attributes:
        decay: the parameter ``[features]``.

    Raises:
        OptionError: for a constant outside its range.
    """

    def __init__(self, features: int, fastest: float = FASTEST, slowest: float = SLOWEST) -> None:
        """Check the constants and draw the decays."""
        super().__init__(features, fastest, slowest)
