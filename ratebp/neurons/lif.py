"""The leaky integrate-and-fire neuron."""

from __future__ import annotations

from ratebp.dynamics import Dynamics
from ratebp.neurons.base import Neuron, shown
from ratebp.surrogates import Surrogate


class LIF(Neuron):
    """A layer of leaky integrate-and-fire neurons; input current and spikes have the same shape.

    ::

        u[t] = decay * (u[t-1] - threshold * s[t-1]) + I[t]      reset="soft"
        u[t] = decay * u[t-1] * (1 - s[t-1]) + I[t]              reset="hard"
        s[t] = 1 if u[t] >= threshold else 0,   u[0] = 0

    The layer holds constants only. How it runs over time is the business of a method: see
    `ratebp.methods.get(name).bind(model, timesteps)` and `ratebp.infer`.

    Args:
        decay: lambda = 1 - 1/tau, in [0, 1].
        threshold: firing threshold, positive.
        reset: "soft" subtracts the threshold, "hard" sets the potential to zero.
        detach_reset: whether the spike inside the reset is a constant in the backward.
        surrogate: name of the backward shape, see `ratebp.surrogates`.
        alpha: sharpness of that shape.

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
    ) -> None:
        """Check and keep the constants."""
        super().__init__()
        self.dynamics = Dynamics(decay, threshold, reset, detach_reset, Surrogate(surrogate, alpha))

    def extra_repr(self) -> str:
        """Show the constants in the model's printout."""
        return f"decay={self.dynamics.decay}, {shown(self.dynamics)}"
