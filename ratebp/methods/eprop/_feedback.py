"""Learning signals that are broadcast from the outputs to the neurons, past the layers between.

A term of value zero adds each neuron layer's spikes to the logits through a feedback matrix: the
spikes then receive the logits' gradient times that matrix, and the value stays what it was.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ratebp.errors import BindError
from ratebp.ops import geometry_of
from ratebp.roles import Role, role_of
from ratebp.rules.synapses import TracedSynapse
from ratebp.views import Leaf
from ratebp.wiring import Wiring

_MASK = 0xFFFFFFFF


def feedback_matrix(units: int, outputs: int, seed: int, device: torch.device) -> Tensor:
    """Return a fixed ``[units, outputs]``, uniform within 1 / sqrt(units), float32.

    Hashed from its indices instead of drawn: the same on every device and in every process, and
    within what `torch.compile` traces.
    """
    x = torch.arange(units * outputs, device=device) * 2654435761 + seed * 97_531 + 1
    for _ in range(3):
        x = x & _MASK
        x = ((x >> 16) ^ x) * 0x45D9F3B
    uniform = (x & _MASK).to(torch.float32) / (_MASK + 1) * 2 - 1
    out: Tensor = (uniform / units**0.5).view(units, outputs)
    return out


class BroadcastNeuron(Leaf):
    """One time step a call; keeps its spikes for the `Broadcast` around the network.

    Args:
        leaf: runs the neuron step by step, at rest; here its graph is cut after every step.
        read: whether the neuron also takes the gradient from the synapses that read its spikes.
    """

    stateful = True

    def __init__(self, leaf: Leaf, *, read: bool) -> None:
        """Take the leaf."""
        super().__init__()
        self.leaf = leaf
        self.read = read
        self.spikes: Tensor | None = None

    def forward(self, current: Tensor) -> Tensor:
        """Return the spikes of this step, shape of `current`."""
        spikes: Tensor = self.leaf(current)
        self.leaf.detach()
        self.spikes = spikes
        # A copy, so that a model which adds to its spikes in place does not change what is kept.
        return spikes.clone() if self.read else spikes.detach().clone()

    def reset(self) -> None:
        """Go back to rest."""
        self.leaf.reset()
        self.spikes = None


class HiddenSynapse(TracedSynapse):
    """A synapse with a presynaptic trace that sends no gradient to its input."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the synapse's current for `x`, one time step ``[B, ...]``."""
        return super().forward(x.detach())


class DriftedReadout(Leaf):
    """A readout whose gradient by its input goes through ``W - W_0``, the change of its weights.

    A layer whose weight is computed (a parametrization) runs twice, with the present and with the
    first parameters: a difference of parameters is no difference of weights there.

    Added to feedback by a fixed random ``B_0`` this is feedback by ``B_0 + W - W_0``: a matrix that
    starts at random and gets every update of the readout.
    """

    def __init__(self, layer: nn.Module) -> None:
        """Remember the weights as they are."""
        super().__init__()
        self.layer = layer
        self.start = {n: p.detach().clone() for n, p in layer.named_parameters()}

    def forward(self, x: Tensor) -> Tensor:
        """Return the readout of `x`."""
        value: Tensor = self.layer(x.detach())
        now = {n: p.detach() for n, p in self.layer.named_parameters()}
        if geometry_of(self.layer) is None:
            back = functional_call(self.layer, now, (x,))
            back = back - functional_call(self.layer, self.start, (x,))
        else:
            back = functional_call(self.layer, {n: now[n] - self.start[n] for n in now}, (x,))
        out: Tensor = value + (back - back.detach())
        return out


class Broadcast(Leaf):
    """A whole network whose `BroadcastNeuron` receive the outputs' gradient by fixed matrices.

    Args:
        net: the network.
        seed: of the matrices.
        skip: paths of neurons that get none.
    """

    def __init__(self, net: nn.Module, seed: int, skip: frozenset[str]) -> None:
        """Find the neurons; matrices are made when shapes are known."""
        super().__init__()
        self.net = net
        self.seed = seed
        found = [(path, m) for path, m in net.named_modules() if isinstance(m, BroadcastNeuron)]
        self.neurons = tuple(m for path, m in found if path not in skip)
        self.matrices: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of this step, ``[B, K]``, for the input ``[B, ...]``."""
        out: Tensor = self.net(x)
        signals = [m.spikes.flatten(1) for m in self.neurons if m.spikes is not None]
        if signals and out.dim() != 2:
            raise BindError(
                f"e-prop broadcasts the error of each output to each neuron, but the outputs are "
                f"{tuple(out.shape)}, not [B, K]. Pool them in the model (x.mean((2, 3))), or "
                "train with ottt_a or sltt."
            )
        if not self.matrices:
            self.matrices = [
                feedback_matrix(s.shape[1], out.shape[1], self.seed + 7919 * k, s.device)
                for k, s in enumerate(signals)
            ]
        for s, b in zip(signals, self.matrices, strict=True):
            out = out + ((s - s.detach()) @ b.to(s.dtype)).to(out.dtype)
        return out


def readouts(method: str, model: nn.Module, wiring: Wiring) -> frozenset[str]:
    """Return the paths of the synapses that no neuron follows.

    Raises:
        BindError: when there is none, since then no output error can be broadcast.
    """
    modules = dict(model.named_modules())
    found = {p for p, behind in wiring.behind.items() if not behind}
    found = {p for p in found if role_of(modules[p]) is Role.SYNAPSE}
    if not found:
        raise BindError(
            f"{method} broadcasts the error of a readout, but every synapse of "
            f"{type(model).__name__} feeds a neuron. End the model with a synapse (nn.Linear), or "
            "train with sltt or ottt_a."
        )
    return frozenset(found)
