"""A neuron of a foreign model, and what stands for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

Stepper = Callable[[Tensor], Tensor]
"""Takes the current of one time step ``[B, ...]``, gives the spikes, keeps its own state."""


@dataclass(frozen=True)
class Pair:
    """A neuron of the source and what stands for it.

    Attributes:
        path: in both models.
        source: settings as the source calls them, for the table.
        module: what stands for it: a `Neuron`, or modules around one.
        scale: the current that brings a neuron at rest to its threshold.
        alone: returns a source neuron at rest, as a copy in float64, to be run step by step.
        steps: turns what one call of the source neuron gave into its time steps.
    """

    path: str
    source: str
    module: nn.Module
    scale: float
    alone: Callable[[], Stepper]
    steps: Callable[[Any], Sequence[Tensor]]
