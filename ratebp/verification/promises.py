"""Where a method must equal backpropagation through time, read off what it declares.

An exact method promises its own layout and loss at any T. Every other promise is an `Identity`
that leads to an exact method, directly or by way of others: "equal to ottt_a", which is "equal to
bptt_s where T=1". Nothing here is a list of methods by hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from ratebp import methods
from ratebp.errors import RatebpError
from ratebp.graph import Recording
from ratebp.inputs import arguments
from ratebp.method import Identity, Method
from ratebp.roles import Role, role_of
from ratebp.verification import plain
from ratebp.verification.lockstep import Lockstep
from ratebp.verification.oracle import Neurons, Run, outer_neurons
from ratebp.wiring import wiring_of

EXACT_AT_ONE = ("truncated",)
"""Families that cut something off the past alone, so that nothing is cut at T=1."""


@dataclass(frozen=True)
class Promise:
    """Gradients equal those of the plain loop.

    Attributes:
        layout: of the reference's batch norms.
        loss_mode: of the reference's loss.
        when: what must hold, as in `Identity.when`.
        over: "all", or "last_spiking": parameters of synapses into the last spiking layer.
        inverse_t: the gradients are 1/T of the reference's.
    """

    layout: str
    loss_mode: str
    when: Mapping[str, Any] = field(default_factory=dict)
    over: str = "all"
    inverse_t: bool = False

    def holds(self, model: nn.Module, timesteps: int) -> bool:
        """Return whether all that the promise asks for is so."""
        return all(_is_so(model, timesteps, name, value) for name, value in self.when.items())


def promises(method: Method, seen: tuple[Method, ...] = ()) -> Iterator[Promise]:
    """Return all promises of `method`, a frozen instance with its options."""
    if method in seen:
        return
    mode = getattr(method, "loss_mode", method.info.loss)
    if method.info.family == "exact":
        yield Promise(method.info.layout, mode)
        return
    if method.info.family in EXACT_AT_ONE:
        yield Promise(method.info.layout, mode, {"timesteps": 1})
    for identity in method.identities:
        if identity.oracle is not None or not _is_of(identity, method):
            continue
        other = methods.get(identity.other, **identity.other_options)
        for theirs in promises(other, (*seen, method)):
            if joined := _joined(identity, theirs):
                yield joined


def best(method: Method, model: nn.Module, timesteps: int) -> Promise | None:
    """Return the promise that holds here: one over all parameters first, one at any T first."""
    held = [p for p in promises(method) if p.holds(model, timesteps)]
    return min(held, key=lambda p: (p.over != "all", "timesteps" in p.when), default=None)


def kin(method: Method, model: nn.Module, timesteps: int) -> Iterator[Identity]:
    """Return the identities with other approximations, or with their oracles, that hold here."""
    for identity in method.identities:
        here = all(_is_so(model, timesteps, n, v) for n, v in identity.when.items())
        if not here or not _is_of(identity, method):
            continue
        if identity.oracle is None:
            other = methods.get(identity.other, **identity.other_options)
            if other.info.family == "exact" or other == method:
                continue
        yield identity


def _is_of(identity: Identity, method: Method) -> bool:
    """Return whether `identity` speaks of these options."""
    try:
        described = replace(type(method)(), **identity.options)  # type: ignore[type-var]
    except RatebpError:
        return False
    return bool(described == method)


def _joined(identity: Identity, theirs: Promise) -> Promise | None:
    both = {**theirs.when, **identity.when}
    if any(both[name] != value for name, value in theirs.when.items()):
        return None
    over = "all" if identity.over == theirs.over == "all" else "last_spiking"
    scaled = theirs.inverse_t != (identity.scale == "inverse_t")
    return Promise(theirs.layout, theirs.loss_mode, both, over, scaled)


def _is_so(model: nn.Module, timesteps: int, name: str, value: Any) -> bool:
    if name == "timesteps":
        return bool(timesteps == value)
    if name == "norm":
        return norm_of(model) == str(value)
    found = [_setting(leaf, name) for _, leaf in outer_neurons(model)]
    return all(each == value for each in found)


def norm_of(model: nn.Module) -> str:
    """Return "batch" for a model with batch statistics, "frozen" in eval mode, or "none"."""
    norms = [m for m in model.modules() if isinstance(m, _NormBase)]
    if any(m.training for m in norms):
        return "batch"
    if norms:
        return "frozen"
    # Norms of each sample are no constants of the network: an identity "without norms" is not
    # about them, and neither is one with frozen ones.
    return "sample" if any(role_of(m) is Role.NORM for m in model.modules()) else "none"


def _setting(leaf: nn.Module, name: str) -> Any:
    """Return a neuron's setting by its name in `ratebp.LIF`, None for another kind of neuron."""
    dynamics = getattr(leaf, "dynamics", None)
    if dynamics is None:
        return None
    place = {"surrogate": ("surrogate", "name"), "alpha": ("surrogate", "alpha")}
    value: Any = dynamics
    for part in place.get(name, (name,)):
        value = getattr(value, part)
    return value


def own_network(method: Method) -> bool:
    """Return whether the method trains another network than the plain spiking one."""
    return type(method).network is not Method.network


def frame_neurons(method: Method, timesteps: int) -> Neurons | None:
    """Return the neurons of the network that a control trains, None if it is not known here.

    Args:
        method: a `Control`, which runs layer by layer on `Control.frames` of the input.
        timesteps: T that it is bound to.
    """
    makers: dict[str, Neurons] = {
        "t1": lambda leaf, path: plain.neuron(leaf, path, lambda state: state, Lockstep(1)),
        "ann": lambda leaf, path: _rectified,
        "sfa": lambda leaf, path: partial(_integer, leaf, timesteps),
    }
    names = (name for name, entry in methods.entries().items() if entry.cls is type(method))
    return makers.get(next(names, ""))


def _rectified(current: Tensor) -> Tensor:
    return current * (current > 0)


def _integer(leaf: Any, levels: int, current: Tensor) -> Tensor:
    """``floor(clip(D u / threshold, 0, D)) / D``, the floor passed straight through."""
    x = (levels * current / leaf.dynamics.threshold).clamp(0, levels)
    activation: Tensor = (x.detach().floor() + (x - x.detach())) / levels
    return activation


def in_last_spiking(model: nn.Module, x: Tensor, want: Run) -> list[str]:
    """Return the names of the parameters of the synapses into the last spiking layer.

    Args:
        model: a float64 copy of the user's.
        x: its inputs ``[T, B, ...]``, likewise.
        want: of the plain loop, which says what is read at all.
    """
    wiring = wiring_of(Recording(model).of(*arguments(x[0])))
    neurons = {path for behind in wiring.behind.values() for path in behind}
    last = {path for path in neurons if not wiring.behind[path]}
    feeding = [p for p, behind in wiring.behind.items() if behind and behind <= last]
    read = [n for n, gradient in want.gradients.items() if gradient is not None]
    return [n for n in read if n.rpartition(".")[0] in feeding and n.endswith(("weight", "bias"))]
