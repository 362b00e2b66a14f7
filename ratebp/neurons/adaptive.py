"""Integrate-and-fire neurons that adapt: a decay that is learned, a threshold that moves."""

from __future__ import annotations

import math

import torch
from torch import nn

from ratebp.dynamics import Dynamics
from ratebp.legal import number
from ratebp.neurons.base import Neuron, shown
from ratebp.surrogates import Surrogate


class PLIF(Neuron):
    """A layer of parametric LIF neurons: one decay a layer, learned through a sigmoid.

    ::

        k = sigmoid(w),   u[t] = (1 - k) r[t-1] + k I[t],   s[t] = 1 if u[t] >= threshold else 0
        r[t] = u[t] - threshold s[t]   (reset="soft"),   u[t] (1 - s[t])   (reset="hard")

    ``k = 1/tau`` scales the current too, as published; a LIF of decay ``1 - k`` that is fed ``k I``
    is the same neuron.

    Source: Fang et al., ICCV 2021, arXiv 2007.05785; the defaults are those of its code.

    Args:
        decay: the decay ``1 - k`` that training starts from, in (0, 1); 0.5 is tau = 2.
        threshold: firing threshold, positive.
        reset: "soft" subtracts the threshold, "hard" sets the potential to zero.
        detach_reset: whether the spike inside the reset is a constant in the backward.
        surrogate: name of the backward shape, see `ratebp.surrogates`.
        alpha: sharpness of that shape.

    Attributes:
        w: the parameter, a scalar.

    Raises:
        OptionError: for a constant outside its range or an unknown name.
    """

    def __init__(
        self,
        decay: float = 0.5,
        threshold: float = 1.0,
        reset: str = "hard",
        detach_reset: bool = True,
        surrogate: str = "atan",
        alpha: float = 2.0,
    ) -> None:
        """Check the constants and set the parameter."""
        super().__init__()
        number("decay", decay, 0, 1, open_low=True, open_high=True, note=": a PLIF learns it")
        # Of decay 1: its `carry` is the reset alone.
        self.undecayed = Dynamics(1.0, threshold, reset, detach_reset, Surrogate(surrogate, alpha))
        self.w = nn.Parameter(torch.tensor(math.log((1 - decay) / decay)))

    def extra_repr(self) -> str:
        """Show the constants in the model's printout."""
        return shown(self.undecayed)


class ALIF(Neuron):
    """A layer of LIF neurons whose threshold rises with every spike and falls back.

    ::

        u[t] = decay * (u[t-1] - threshold * s[t-1]) + I[t]      reset="soft"
        u[t] = decay * u[t-1] * (1 - s[t-1]) + I[t]              reset="hard"
        a[t] = adaptation_decay * a[t-1] + s[t-1],   a[0] = 0
        s[t] = 1 if u[t] >= threshold + adaptation * a[t] else 0

    The soft reset subtracts the resting threshold. The gradient flows through the adaptation
    whatever `detach_reset` says: e-prop's second trace, ``adaptation_decay - h' adaptation``.

    Source: Bellec et al., Nature Communications 2020 (e-prop), and NeurIPS 2018, arXiv 1803.09574;
    there ``beta`` is the adaptation and ``rho = exp(-1/tau_a)`` its decay, both constants.

    Args:
        decay: lambda = 1 - 1/tau, in [0, 1].
        threshold: firing threshold at rest, positive.
        reset: "soft" subtracts the threshold, "hard" sets the potential to zero.
        detach_reset: whether the spike inside the reset is a constant in the backward.
        surrogate: name of the backward shape, see `ratebp.surrogates`.
        alpha: sharpness of that shape.
        adaptation: by how much a spike raises the threshold, at least 0; at 0 it is a LIF.
        adaptation_decay: in [0, 1].

    Raises:
        OptionError: for a constant outside its range or an unknown name.
    """

    def __init__(
        self,
        decay: float = 0.2,
        threshold: float = 1.0,
        reset: str = "soft",
        detach_reset: bool = True,
        surrogate: str = "sigmoid",
        alpha: float = 4.0,
        adaptation: float = 0.2,
        adaptation_decay: float = 0.9,
    ) -> None:
        """Check and keep the constants."""
        super().__init__()
        number("adaptation", adaptation, 0)
        number("adaptation_decay", adaptation_decay, 0, 1)
        self.charging = Dynamics(decay, threshold, reset, detach_reset, Surrogate(surrogate, alpha))
        self.adaptation = adaptation
        self.adaptation_decay = adaptation_decay

    def extra_repr(self) -> str:
        """Show the constants in the model's printout."""
        return (
            f"decay={self.charging.decay}, {shown(self.charging)}, adaptation={self.adaptation}, "
            f"adaptation_decay={self.adaptation_decay}"
        )
