"""How a layer with connections among its own neurons runs over time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ratebp.errors import BindError
from ratebp.neurons import Recurrent
from ratebp.roles import Role, role_of
from ratebp.views import Leaf


def heard(synapse: nn.Module, last: Tensor | None, current: Tensor) -> Tensor:
    """Return `current` and what `synapse` adds for the `last` spikes, None before the first step.

    Raises:
        BindError: when the synapse gives another shape than `current`, ``[B, ...]``.
    """
    back: Tensor = synapse(torch.zeros_like(current) if last is None else last)
    if back.shape != current.shape:
        raise BindError(
            f"the synapse of a Recurrent gives {tuple(back.shape)} for the spikes of a layer of "
            f"shape {tuple(current.shape)}. Its output must have the shape of its input: as many "
            "features or channels out as in, and for a convolution a padding that keeps the size."
        )
    return current + back


def refuse_unless_synapse(neuron: Recurrent) -> None:
    """Check what connects the layer to itself.

    Raises:
        BindError: for anything but one layer with the role of a synapse.
    """
    if role_of(neuron.synapse) is not Role.SYNAPSE:
        raise BindError(
            f"{type(neuron.synapse).__name__} connects a Recurrent layer to itself, but only one "
            "synapse may: nn.Linear, a convolution, or a layer of your own after "
            "ratebp.register_role(cls, ratebp.Role.SYNAPSE)."
        )


class StepRecurrent(Leaf):
    """One time step a call, ``[B, ...]``; the graph reaches through the last spikes, too."""

    stateful = True

    def __init__(self, neuron: Recurrent, leaf: Leaf) -> None:
        """Take the synapse of `neuron`; `leaf` runs the neuron in it step by step.

        Raises:
            BindError: when the synapse is none.
        """
        super().__init__()
        refuse_unless_synapse(neuron)
        self.synapse = neuron.synapse
        self.leaf = leaf
        self.spikes: Tensor | None = None

    def forward(self, current: Tensor) -> Tensor:
        """Return the spikes of this step, shape of `current`."""
        spikes: Tensor = self.leaf(heard(self.synapse, self.spikes, current))
        self.spikes = spikes
        # A copy, so that a model which adds to its spikes in place does not change what is kept.
        return spikes.clone()

    def reset(self) -> None:
        """Go back to rest."""
        self.leaf.reset()
        self.spikes = None

    def detach(self) -> None:
        """Cut the graph to earlier time steps."""
        self.leaf.detach()
        if self.spikes is not None:
            self.spikes = self.spikes.detach()
