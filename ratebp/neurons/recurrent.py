"""A spiking layer that hears its own last spikes."""

from __future__ import annotations

from torch import nn

from ratebp.errors import OptionError
from ratebp.neurons.base import Neuron
from ratebp.neurons.delay import Delay


class Recurrent(Neuron):
    """A layer of spiking neurons with connections among themselves, one time step long.

    ::

        s[t] = neuron(I[t] + synapse(s[t-1])),   s[0] = 0

    For example ``nn.Sequential(nn.Linear(20, 64), Recurrent(nn.Linear(64, 64), LIF()))``. A bias of
    the synapse is there at every step, the first one included.

    Args:
        synapse: one linear layer, from the shape of the spikes to that same shape: ``nn.Linear(N,
            N)``, or a convolution with padding.
        neuron: any of `ratebp.neurons` that runs step by step, but not another Recurrent.

    Raises:
        OptionError: for a synapse that is no module, or a neuron that cannot run step by step.
    """

    def __init__(self, synapse: nn.Module, neuron: Neuron) -> None:
        """Keep the two modules."""
        super().__init__()
        if not isinstance(synapse, nn.Module):
            raise OptionError(
                f"the synapse {synapse!r} of a Recurrent is no module. Give it a layer such as "
                "nn.Linear(64, 64), then the neuron."
            )
        single = isinstance(neuron, Neuron) and "single" in neuron.layouts
        if not single or isinstance(neuron, Recurrent | Delay):
            raise OptionError(
                f"the neuron of a Recurrent is {type(neuron).__name__}, which cannot hear its last "
                "spikes. Legal: LIF, PLIF, ALIF, SlidingPSN or another neuron that runs step by "
                "step, such as ratebp.LIF()."
            )
        self.synapse = synapse
        self.neuron = neuron
