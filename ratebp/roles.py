"""Which leaves of a model a method may replace: neurons, synapses, norms and dropouts."""

from __future__ import annotations

from enum import Enum

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from ratebp.neurons import Neuron
from ratebp.norms import RateScale


class Role(Enum):
    """What a leaf of the module tree is to a training method."""

    NEURON = "neuron"
    SYNAPSE = "synapse"
    NORM = "norm"
    DROPOUT = "dropout"


_ROLES: dict[type[nn.Module], Role | None] = {
    Neuron: Role.NEURON,
    nn.Linear: Role.SYNAPSE,
    nn.Conv1d: Role.SYNAPSE,
    nn.Conv2d: Role.SYNAPSE,
    nn.Conv3d: Role.SYNAPSE,
    nn.ConvTranspose1d: Role.SYNAPSE,
    nn.ConvTranspose2d: Role.SYNAPSE,
    nn.ConvTranspose3d: Role.SYNAPSE,
    _NormBase: Role.NORM,
    nn.LayerNorm: Role.NORM,
    nn.GroupNorm: Role.NORM,
    nn.RMSNorm: Role.NORM,
    nn.LocalResponseNorm: Role.NORM,
    RateScale: Role.NORM,
    _DropoutNd: Role.DROPOUT,
}


def role_of(module: nn.Module) -> Role | None:
    """Return the role of `module` by its class or nearest base class; None for plumbing."""
    for base in type(module).__mro__:
        if base in _ROLES:
            return _ROLES[base]
    return None


def register_role(cls: type[nn.Module], role: Role | None) -> None:
    """Give third-party layers of class `cls` (and its subclasses) a role; None: plumbing."""
    _ROLES[cls] = role
