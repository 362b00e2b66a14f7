"""Networks for spoken digits (SHD), `[B, 700] -> [B, 20]` at each time step.

The LIF and recurrent LIF networks of Bittar and Garner, "A surrogate gradient spiking baseline for
speech command recognition" (Frontiers in Neuroscience 2022): every neuron learns its decay, the
readout is a leaky integrator.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

from ratebp.errors import OptionError
from ratebp.neurons import LI, HeterogeneousLIF, Neuron, Recurrent

SIZES = {"tiny": 16, "128": 128, "512": 512, "1024": 1024}


def _neuron(features: int, recurrent: bool) -> Neuron:
    neuron = HeterogeneousLIF(
        features, detach_reset=False, surrogate="rectangle", alpha=1.0, reset="soft"
    )
    if not recurrent:
        return neuron
    synapse = nn.Linear(features, features, bias=False)
    nn.init.orthogonal_(synapse.weight)
    with torch.no_grad():
        synapse.weight.fill_diagonal_(0)
    return Recurrent(synapse, neuron)


def shd_net(
    *,
    size: str = "128",
    num_classes: int = 20,
    in_channels: int = 700,
    recurrent: bool = True,
    dropout: float = 0.0,
    softmax: bool = True,
) -> nn.Module:
    """SHD network of two spiking layers of 128, 512 or 1024, recurrent or not, and a leaky readout.

    Each layer is a linear map without bias, batch norm of momentum 0.05, neurons with a trained
    decay each, and dropout (0.1 in the published recipe, one mask a sequence here). It ends in a
    softmax at every step, so that ``ratebp.losses.get("sum_output", timesteps=T)`` is the published
    loss; without `softmax` it gives the readout's potentials. Here the neurons start at rest
    (published: at random), and the diagonal of the recurrent weights starts at 0 and is trained
    (published: held at 0, though counted among the parameters).
    """
    if size not in SIZES:
        raise OptionError.unknown("size of model 'shd_net':", size, SIZES)
    hidden = SIZES[size]
    layers = OrderedDict[str, nn.Module]()
    inputs = in_channels
    for number in (1, 2):
        layers[f"linear{number}"] = nn.Linear(inputs, hidden, bias=False)
        layers[f"norm{number}"] = nn.BatchNorm1d(hidden, momentum=0.05)
        layers[f"neuron{number}"] = _neuron(hidden, recurrent)
        if dropout:
            layers[f"dropout{number}"] = nn.Dropout(dropout)
        inputs = hidden
    layers["readout"] = nn.Linear(hidden, num_classes, bias=False)
    layers["norm"] = nn.BatchNorm1d(num_classes, momentum=0.05)
    layers["integrator"] = LI(num_classes)
    if softmax:
        layers["softmax"] = nn.Softmax(1)
    return nn.Sequential(layers)
