"""Leaves of exact recurrent learning forward in time: how far each weight moves each neuron.

A recurrent layer mixes its neurons, so a weight into one moves all of them from then on. Instead of
a graph, the influence of every weight on every potential is carried along: N^2 (M + 1) numbers a
sample for a synapse from M inputs to N neurons.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ratebp.bindable import Bindable
from ratebp.errors import BindError
from ratebp.neurons import LIF, Recurrent
from ratebp.roles import Role, role_of
from ratebp.rules.neurons.entrance import entrances, linear_within
from ratebp.rules.neurons.lif import DetachedLIF
from ratebp.rules.neurons.recurrent import heard
from ratebp.views import Leaf

_INSTEAD = "eprop, bptt_m or bptt_s"


class Mixing:
    """What the synapses into a recurrent layer share: ``J[t] = d u[t] / d u[t-1]``, ``[B, N, N]``.

    Attributes:
        jacobian: J of the step to come; None at rest.
    """

    def __init__(self) -> None:
        """Start at rest."""
        self.jacobian: Tensor | None = None


class InfluenceSynapse(Leaf):
    """A linear synapse into a recurrent layer, one time step ``[B, ..., M]`` to ``[B, ..., N]``.

    ::

        P[t] = J[t] P[t-1] + d I[t] / d W,   dW += sum_j d_j[t] P_j[t]

    with ``P[t] = d u[t] / d W`` and ``d[t]`` the gradient by the current. A bias is a weight on the
    constant input 1.
    """

    stateful = True

    def __init__(self, layer: nn.Linear, mixing: Mixing) -> None:
        """Share `mixing` with the neurons behind, at rest."""
        super().__init__()
        self.layer = layer
        self.mixing = mixing
        self.influence: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return the current of `x`."""
        weight, bias = self.layer.weight, self.layer.bias
        fixed = None if bias is None else bias.detach()
        value = F.linear(x, weight.detach(), fixed)
        if not any(p.requires_grad for p in self.layer.parameters()):
            return value  # nobody asks for an influence
        theta = weight if bias is None else torch.cat((weight, bias.unsqueeze(1)), 1)
        moved = torch.einsum("...jkm,km->...j", self._advance(x, theta), theta)
        return value + (moved - moved.detach()).to(value.dtype)

    def reset(self) -> None:
        """Forget the influence."""
        self.influence = None

    def _advance(self, x: Tensor, theta: Tensor) -> Tensor:
        wide = torch.promote_types(x.dtype, torch.float32)
        own = torch.eye(len(theta), dtype=wide, device=x.device)
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            seen = x if x.shape[-1] == theta.shape[1] else F.pad(x, (0, 1), value=1.0)
            now = torch.einsum("jk,...m->...jkm", own, seen.to(wide))
            if self.influence is not None:
                assert self.mixing.jacobian is not None
                now += torch.einsum("...ij,...jkm->...ikm", self.mixing.jacobian, self.influence)
            self.influence = now
        return self.influence


class InfluenceRecurrent(DetachedLIF):
    """A recurrent LIF layer, one time step a call: no graph through time, exact influences.

    ::

        J[t+1] = diag(d u[t+1] / d u[t]) + V diag(h'(u[t] - threshold))

    where the diagonal is that of the neuron alone, whatever its reset.
    """

    def __init__(self, layer: Recurrent, mixing: Mixing) -> None:
        """Take the LIF and the linear synapse V of `layer`."""
        lif, synapse = layer.neuron, layer.synapse
        assert isinstance(lif, LIF)
        assert isinstance(synapse, nn.Linear)
        super().__init__(lif)
        self.back = InfluenceSynapse(synapse, mixing)
        self.mixing = mixing
        self.spikes: Tensor | None = None

    def forward(self, current: Tensor) -> Tensor:
        """Return the spikes of this step, shape of `current`."""
        spikes = super().forward(heard(self.back, self.spikes, current))
        # A copy, so that a model which adds to its spikes in place does not change what is kept.
        self.spikes = spikes.detach().clone()
        self._mix()
        return spikes

    def reset(self) -> None:
        """Go back to rest and forget all influence."""
        super().reset()
        self.back.reset()
        self.spikes = None
        self.mixing.jacobian = None

    def _mix(self) -> None:
        assert self.potential is not None
        with torch.no_grad():
            u, d = self.potential, self.dynamics
            h = d.surrogate.derivative(u - d.threshold)
            alone = torch.zeros_like(h) + d.carry_grad(u, h)
            weight = self.back.layer.weight
            self.mixing.jacobian = torch.diag_embed(alone) + weight * h.unsqueeze(-2)


def mixings(method: str, binding: Bindable) -> dict[str, Mixing]:
    """Return a new `Mixing` for each recurrent layer of the model, by path.

    Args:
        method: name of the method that asks, for messages.
        binding: what is bound.

    Raises:
        BindError: where a recurrent layer is not linear, or what reaches it is anything but the
            current of one linear synapse that goes nowhere else.
    """
    layers = {path: m for path, m in binding.model.named_modules() if isinstance(m, Recurrent)}
    for path, layer in layers.items():
        linear_within(method, path, layer.synapse, _INSTEAD)
    if layers:
        entrances(method, binding.graph, binding.wiring, layers, _INSTEAD)
    return {path: Mixing() for path in layers}


def refuse_unless_soft_and_detached(method: str, model: nn.Module) -> None:
    """Check that one trace a synapse says all of a feed-forward LIF's past.

    Raises:
        BindError: for a reset that is hard or not detached, outside of recurrent layers.
    """
    inner = {id(m.neuron) for m in model.modules() if isinstance(m, Recurrent)}
    for path, lif in model.named_modules():
        if role_of(lif) is not Role.NEURON or not isinstance(lif, LIF) or id(lif) in inner:
            continue
        if lif.dynamics.reset != "soft" or not lif.dynamics.detach_reset:
            raise BindError(
                f"{method} is exact within a layer, and for reset={lif.dynamics.reset!r}, "
                f"detach_reset={lif.dynamics.detach_reset} at `{path}` that takes a trace for each "
                "sample and weight. Set reset='soft', detach_reset=True, or train with ottt_a, "
                "which leaves the reset out."
            )
