"""The leaky integrate-and-fire equation and its constants.

With input current ``I``, potential ``u`` (after charging, before reset) and spike ``s``::

    u[t] = carry(u[t-1], s[t-1]) + I[t],      s[t] = 1 if u[t] >= threshold else 0

    carry(u, s) = decay * (u - threshold * s)       soft reset
    carry(u, s) = decay * u * (1 - s)               hard reset

``detach_reset`` treats the ``s`` inside `carry` as a constant in the backward. With the surrogate
derivative ``h = h'(u - threshold)``, the temporal Jacobian ``d u[t+1] / d u[t]`` is

==========  ====================  ==============================
reset       detached              not detached
==========  ====================  ==============================
soft        decay                 decay * (1 - threshold * h)
hard        decay * (1 - s)       decay * ((1 - s) - u * h)
==========  ====================  ==============================

Source: Wu et al. 2018 (STBP); the soft, detached form is that of rate-BP and OTTT.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from ratebp.errors import OptionError
from ratebp.legal import flag, number, one_of, positive
from ratebp.surrogates import Surrogate

RESETS = ("soft", "hard")


@dataclass(frozen=True)
class Dynamics:
    """The constants of one LIF layer; hashable, so that operators may key on it.

    Raises:
        OptionError: for a decay outside [0, 1], a threshold that is not positive, an unknown reset,
            a flag that is no bool.
    """

    decay: float = 0.2
    threshold: float = 1.0
    reset: str = "soft"
    detach_reset: bool = True
    surrogate: Surrogate = field(default_factory=Surrogate)

    def __post_init__(self) -> None:
        """Refuse constants that are no LIF."""
        number("decay", self.decay, 0, 1, note=" (1 - 1/tau)")
        positive("threshold", self.threshold)
        one_of("reset", self.reset, RESETS)
        flag("detach_reset", self.detach_reset)
        if not isinstance(self.surrogate, Surrogate):
            raise OptionError(
                f"surrogate={self.surrogate!r} of Dynamics must be a ratebp.surrogates.Surrogate."
            )

    def carry(self, u: Tensor, s: Tensor) -> Tensor:
        """Return what is left of potential `u` after the spike `s` and one leak, same shape."""
        if self.reset == "soft":
            return self.decay * (u - self.threshold * s)
        return self.decay * u * (1 - s)

    @property
    def constant_jacobian(self) -> bool:
        """Whether d u[t+1] / d u[t] is `decay`, whatever the potential."""
        return self.reset == "soft" and self.detach_reset

    def carry_grad(self, u: Tensor, h: Tensor) -> Tensor | float:
        """Return d u[t+1] / d u[t] given the surrogate derivative `h` at u, or a plain number."""
        if self.reset == "soft":
            return self.decay if self.detach_reset else self.decay * (1 - self.threshold * h)
        silent = (u < self.threshold).to(u.dtype)
        return self.decay * (silent if self.detach_reset else silent - u * h)
