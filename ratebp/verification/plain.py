"""Neurons as plainly as their equations say it, one time step a call.

The leaves of a copied model keep their class and their attributes; only what a call does is put in
their place, so that a forward that asks what its layers are gets the model's own answer. Nothing of
`ratebp.ops` or `ratebp.rules` is used: what autograd makes of these few lines is the reference.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ratebp.neurons import (
    ALIF,
    LI,
    LIF,
    PLIF,
    PSN,
    TLIF,
    Delay,
    HeterogeneousLIF,
    MaskedPSN,
    Recurrent,
    SlidingPSN,
    UndecayedLIF,
)
from ratebp.surrogates import Surrogate
from ratebp.verification.lockstep import Lockstep

Carry = Callable[[Tensor], Tensor]
"""What the next time step gets of a state: the tensor itself, or cut off its graph."""

LEAST_THRESHOLD = 0.01


class NoOracleError(Exception):
    """There is no plain equation of a leaf."""


class _PlainSpike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, surrogate: Surrogate) -> Tensor:
        ctx.save_for_backward(x)
        ctx.surrogate = surrogate
        return (x >= 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return grads[0] * ctx.surrogate.derivative(x), None


def fire(x: Tensor, surrogate: Surrogate) -> Tensor:
    """Return 1 where ``x >= 0``, with the surrogate derivative."""
    out: Tensor = _PlainSpike.apply(x, surrogate)  # type: ignore[no-untyped-call]
    return out


def _lif(neuron: LIF, carry: Carry) -> Callable[[Tensor], Tensor]:
    d, last = neuron.dynamics, None

    def forward(current: Tensor) -> Tensor:
        nonlocal last
        u = current if last is None else _left(d.reset, d.threshold, *last) * d.decay + current
        s = fire(u - d.threshold, d.surrogate)
        last = carry(u), carry(s.detach() if d.detach_reset else s)
        return s

    return forward


def _left(reset: str, threshold: Any, u: Tensor, s: Tensor) -> Tensor:
    return u - threshold * s if reset == "soft" else u * (1 - s)


def _plif(neuron: PLIF | HeterogeneousLIF, carry: Carry) -> Callable[[Tensor], Tensor]:
    d, last = neuron.undecayed, None

    def forward(current: Tensor) -> Tensor:
        nonlocal last
        if isinstance(neuron, PLIF):
            k = torch.sigmoid(neuron.w)
        else:
            k = 1 - _own_decays(neuron, current)
        u = k * current
        if last is not None:
            u = u + (1 - k) * _left(d.reset, d.threshold, *last)
        s = fire(u - d.threshold, d.surrogate)
        last = carry(u), carry(s.detach() if d.detach_reset else s)
        return s

    return forward


def _undecayed(neuron: UndecayedLIF, carry: Carry) -> Callable[[Tensor], Tensor]:
    d, last = neuron.charging, None

    def forward(current: Tensor) -> Tensor:
        nonlocal last
        u = current
        if last is not None:
            u = u + d.decay * last[0] - d.threshold * last[1]
        s = fire(u - d.threshold, d.surrogate)
        last = carry(u), carry(s.detach() if d.detach_reset else s)
        return s

    return forward


def _li(neuron: LI, carry: Carry) -> Callable[[Tensor], Tensor]:
    last: Tensor | None = None

    def forward(current: Tensor) -> Tensor:
        nonlocal last
        decay = _own_decays(neuron, current)
        u = (1 - decay) * current + (0 if last is None else decay * last)
        last = carry(u)
        return u

    return forward


def _own_decays(neuron: HeterogeneousLIF | LI, current: Tensor) -> Tensor:
    decay = neuron.decay.clamp(neuron.fastest, neuron.slowest)
    return decay.reshape(len(decay), *[1] * (current.dim() - 2))


def _alif(neuron: ALIF, carry: Carry) -> Callable[[Tensor], Tensor]:
    d, last = neuron.charging, None

    def forward(current: Tensor) -> Tensor:
        nonlocal last
        u, a = current, torch.zeros_like(current)
        if last is not None:
            u0, s0, a0 = last
            reset = s0.detach() if d.detach_reset else s0
            u = d.decay * _left(d.reset, d.threshold, u0, reset) + current
            a = neuron.adaptation_decay * a0 + s0
        s = fire(u - (d.threshold + neuron.adaptation * a), d.surrogate)
        last = carry(u), carry(s), carry(a)
        return s

    return forward


def _tlif(neuron: TLIF, carry: Carry) -> Callable[[Tensor], Tensor]:
    d, last = neuron.start, None

    def forward(current: Tensor) -> Tensor:
        nonlocal last
        below = (LEAST_THRESHOLD - neuron.threshold).clamp(min=0).detach()
        threshold = neuron.threshold + below  # the gradient is that of the threshold itself
        u = current
        if last is not None:
            u = d.decay * _left("soft", threshold, *last) + current
        s = fire(u - threshold, d.surrogate)
        last = carry(u), carry(s.detach() if d.detach_reset else s)
        return s

    return forward


def _sliding(neuron: SlidingPSN, carry: Carry) -> Callable[[Tensor], Tensor]:
    seen: list[Tensor] = []

    def forward(current: Tensor) -> Tensor:
        now = [*seen, current][-neuron.order :]
        h = (neuron.weight[-len(now) :] @ torch.stack(now).flatten(1)).view_as(current)
        seen[:] = [carry(each) for each in now]
        return fire(h - neuron.threshold, neuron.surrogate)

    return forward


def _psn(neuron: PSN, lockstep: Lockstep) -> Callable[[Tensor], Tensor]:
    def together(currents: Tensor) -> Tensor:
        mask: Any = 1
        if isinstance(neuron, MaskedPSN):
            mask = neuron.masking * neuron.band + (1 - neuron.masking)
        h = torch.einsum("tj,j...->t...", neuron.weight * mask, currents)
        thresholds = neuron.threshold.view(-1, *[1] * (h.dim() - 1))
        return fire(h - thresholds, neuron.surrogate)

    return lambda current: lockstep.meet(neuron, current, together)


def _delay(delay: Any, carry: Carry) -> Callable[[], Tensor | None]:
    kept: Tensor | None = None

    def keep(signal: Tensor) -> None:
        nonlocal kept
        kept = carry(signal)

    delay.keep = keep
    return lambda: kept


def _recurrent(layer: Recurrent, carry: Carry) -> Callable[[Tensor], Tensor]:
    last: Tensor | None = None

    def forward(current: Tensor) -> Tensor:
        nonlocal last
        heard = layer.synapse(torch.zeros_like(current) if last is None else last)
        spikes: Tensor = layer.neuron(current + heard)
        last = carry(spikes)
        return spikes

    return forward


_STEPS: dict[type[nn.Module], Callable[[Any, Carry], Callable[..., Any]]] = {
    LIF: _lif,
    PLIF: _plif,
    ALIF: _alif,
    TLIF: _tlif,
    UndecayedLIF: _undecayed,
    HeterogeneousLIF: _plif,
    LI: _li,
    SlidingPSN: _sliding,
    Delay: _delay,
    Recurrent: _recurrent,
}


def neuron(leaf: Any, path: str, carry: Carry, lockstep: Lockstep) -> Callable[..., Any]:
    """Return what a call of the neuron `leaf` does.

    Raises:
        NoOracleError: for a class of neuron that is not known here.
    """
    if type(leaf) not in (*_STEPS, PSN, MaskedPSN):
        raise NoOracleError(f"no oracle for the neuron {type(leaf).__name__} at `{path}`")
    own = _STEPS[type(leaf)](leaf, carry) if type(leaf) in _STEPS else _psn(leaf, lockstep)
    # What the model does in place to a current or to spikes must not reach the neuron's state.
    return own if isinstance(leaf, Delay) else lambda current: own(current.clone()).clone()
