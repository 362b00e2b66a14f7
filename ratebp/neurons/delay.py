"""Where a connection from a later layer back to an earlier one waits for the next time step."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, fx

from ratebp.errors import UnboundError
from ratebp.neurons.base import Neuron


class Delay(Neuron):
    """A signal of a later layer, one time step late.

    In the forward of a model, which is written for one time step::

        late = self.delay()                        # None at the first step
        current = self.conv(x) if late is None else self.conv(x) + self.back(late)
        ...
        self.delay.keep(spikes)                    # for the next step; do not change it afterwards

    It is no spiking layer, but like one it has a state, and paths between layers end at it. It runs
    step by step alone.
    """

    layouts: ClassVar[tuple[str, ...]] = ("single",)

    def forward(self) -> Tensor | None:  # type: ignore[override]  # nothing comes in at this end
        """Refuse, as every neuron does that no method has bound."""
        raise UnboundError(
            "a Delay has no dynamics of its own. Bind a method that runs step by step: "
            "ratebp.methods.get('ottt_a').bind(model, timesteps=4).step(...), or call "
            "ratebp.infer(model, x) for inference."
        )

    def keep(self, signal: Tensor) -> None:
        """Keep `signal` for the next time step; refuse, unless `torch.fx` reads the wiring."""
        if not isinstance(signal, fx.Proxy):
            self.forward()
