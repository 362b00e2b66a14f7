"""The integrate-and-fire neuron whose reset is subtracted after the leak."""

from __future__ import annotations

from ratebp.dynamics import Dynamics
from ratebp.neurons.base import Neuron, shown
from ratebp.surrogates import Surrogate


class UndecayedLIF(Neuron):
    """A layer of LIF neurons whose soft reset does not decay, as snnTorch's and Spyx's.

    ::

        u[t] = decay * u[t-1] - threshold * s[t-1] + I[t]
        s[t] = 1 if u[t] >= threshold else 0,   u[0] = 0

    A `LIF` with reset="soft" subtracts ``decay * threshold`` instead. At a decay of 1 both are one
    neuron. The methods that train it run every time step exactly: bptt_m, bptt_s, tbptt.

    Args:
        decay: lambda = 1 - 1/tau, in [0, 1].
        threshold: firing threshold and what a spike subtracts, positive.
        detach_reset: whether the spike inside the reset is a constant in the backward.
        surrogate: name of the backward shape, see `ratebp.surrogates`.
        alpha: sharpness of that shape.

    Raises:
        OptionError: for a constant outside its range or an unknown name.
    """

    def __init__(
        self,
        decay: float = 0.5,
        threshold: float = 1.0,
        detach_reset: bool = True,
        surrogate: str = "atan",
        alpha: float = 2.0,
    ) -> None:
        """Check and keep the constants."""
        super().__init__()
        shape = Surrogate(surrogate, alpha)
        # Only its constants are read: what `carry` of it subtracts would decay.
        self.charging = Dynamics(decay, threshold, "soft", detach_reset, shape)

    def extra_repr(self) -> str:
        """Show the constants in the model's printout."""
        constants = f"decay={self.charging.decay}, {shown(self.charging)}"
        return constants.replace("'soft'", "undecayed")
