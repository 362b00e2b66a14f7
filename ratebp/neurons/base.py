"""What every spiking neuron of a model is."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from ratebp.dynamics import Dynamics
from ratebp.errors import UnboundError


class Neuron(nn.Module):
    """A layer of spiking neurons; input current and spikes have the same shape.

    The layer holds constants and parameters only. How it runs over time is the business of a
    method: see `ratebp.methods.get(name).bind(model, timesteps)` and `ratebp.infer`.

    Attributes:
        layouts: how the neuron can run: "multi" all time steps at once, "single" step by step.
    """

    layouts: ClassVar[tuple[str, ...]] = ("multi", "single")

    def forward(self, current: Tensor) -> Tensor:
        """Refuse: there is no default way to run over time."""
        raise UnboundError(
            "a spiking model has no dynamics of its own. Bind a method first: "
            "ratebp.methods.get('bptt_m').bind(model, timesteps=4).step(...), "
            "or call ratebp.infer(model, x) for inference."
        )


def shown(d: Dynamics) -> str:
    """Return the constants that a neuron shows in the model's printout, but for the decay."""
    return (
        f"threshold={d.threshold}, reset={d.reset!r}, detach_reset={d.detach_reset}, "
        f"surrogate={d.surrogate.name!r}, alpha={d.surrogate.alpha}"
    )
