"""How a signal waits for the next time step."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ratebp.neurons import LIF, Delay
from ratebp.rules.neurons.lif import DetachedLIF
from ratebp.views import Leaf


class StepDelay(Leaf):
    """Hands on what it was given at the last time step; the graph reaches through it."""

    stateful = True

    def __init__(self) -> None:
        """Start with nothing."""
        super().__init__()
        self.kept: Tensor | None = None

    def forward(self) -> Tensor | None:
        """Return the signal of the last time step, None at the first."""
        return self.kept

    def keep(self, signal: Tensor) -> None:
        """Keep `signal` for the next time step."""
        self.kept = signal

    def reset(self) -> None:
        """Start a sequence."""
        self.kept = None

    def detach(self) -> None:
        """Cut the graph to earlier time steps."""
        if self.kept is not None:
            self.kept = self.kept.detach()


class DetachedDelay(StepDelay):
    """Hands on what it was given at the last time step, without any gradient through time."""

    def keep(self, signal: Tensor) -> None:
        """Keep the value of `signal` for the next time step."""
        self.kept = signal.detach()


def detached_neuron(neuron: LIF | Delay, *_: Any) -> Leaf:
    """Return the leaf that runs `neuron` step by step without any gradient through time."""
    return DetachedDelay() if isinstance(neuron, Delay) else DetachedLIF(neuron)
