"""One time step of a LIF layer that keeps nothing of its own: potentials are made anew."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ratebp.dynamics import Dynamics
from ratebp.errors import OperandError
from ratebp.ops import operands
from ratebp.ops.batch_norm import affine, along_channels
from ratebp.ops.bits import unpack
from ratebp.ops.lif.scan_of.torch import Normalised, Spikes, Term, check_term
from ratebp.ops.lif.torch import charged, fired, through_time
from ratebp.ops.spike import slope_


@dataclass(frozen=True)
class Past:
    """What the potential of a step follows from.

    Attributes:
        start: the potential that the first of `currents` came upon; None at rest.
        currents: for each step since, and for this one, the one or two terms of its current.
        midway: potentials, by the place of their step in `currents`, that the backward of a later
            step met on its way and left for this one's. Shared by all steps since `start`.
    """

    start: Tensor | None = None
    currents: tuple[tuple[Term, ...], ...] = ()
    midway: dict[int, Tensor] = field(default_factory=dict)

    def then(self, terms: tuple[Term, ...]) -> Past:
        """Return what the potential follows from after one more step."""
        return Past(self.start, (*self.currents, terms), self.midway)


_Places = tuple[int, int | None, int | None]
"""Where the tensors of a term are: spikes or xhat, weight, bias."""


@dataclass(frozen=True)
class _Way:
    """A `Past` whose tensors are kept elsewhere, each once."""

    currents: tuple[tuple[_Places, ...], ...]
    shape: torch.Size
    dynamics: Dynamics
    midway: dict[int, Tensor]


class _StepOfTerms(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        current: Tensor,
        last: Tensor | None,
        way: _Way,
        start: Tensor | None,
        *kept: Tensor,
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(start, *kept)
        ctx.way = way
        ctx.set_materialize_grads(False)
        dynamics = way.dynamics
        u = charged(current, last, dynamics)
        return fired(u, dynamics), u

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        start, *kept = ctx.saved_tensors
        none = [None] * (2 + len(kept))
        dynamics: Dynamics = ctx.way.dynamics
        by_spikes, by_potential = grads
        # To leave a potential takes the room that the norm before gives back at the end of this
        # step; at the last step of all the first gradient by a potential takes it.
        last, u = _potentials(start, kept, ctx.way, leave=by_potential is not None)
        du = _adjoint(u, by_spikes, by_potential, dynamics)
        if not ctx.needs_input_grad[1]:
            return du, None, *none
        return du, through_time(du, last, dynamics), *none


def _adjoint(u: Tensor, ds: Tensor | None, later: Tensor | None, dynamics: Dynamics) -> Tensor:
    """Return ``ds h'(u - threshold) + later`` in the memory of `u`."""
    du = u.zero_() if ds is None else slope_(u, dynamics).mul_(ds)
    return du if later is None else du.add_(later)


def _potentials(
    start: Tensor | None, kept: list[Tensor], way: _Way, *, leave: bool
) -> tuple[Tensor | None, Tensor]:
    """Return the last step's potential, None at rest, and this step's, in fresh memory.

    The last step's may also be None where the temporal Jacobian does not depend on it. If `leave`,
    one potential halfway is left to the backward of the steps before, which come next.
    """
    here = len(way.currents) - 1
    found = way.midway.pop(here, None)
    if found is not None and way.dynamics.constant_jacobian:
        return None, found
    before = max((step for step in way.midway if step < here), default=-1)
    halfway = (before + here) // 2
    last, u = None, way.midway.get(before, start)
    for step in range(before + 1, here + 1):
        current = _sum(way.currents[step], kept, way.shape)
        last, u = u, current if u is None else charged(current, u, way.dynamics)
        if leave and before < step == halfway < here:
            way.midway[step] = u
    assert u is not None
    return last, u


def _sum(terms: tuple[_Places, ...], kept: list[Tensor], shape: torch.Size) -> Tensor:
    """Return the current that the `terms` add up to, in fresh memory."""
    total: Tensor | None = None
    bits: list[Tensor] = []
    for places in terms:
        value, weight, bias = (None if place is None else kept[place] for place in places)
        assert value is not None
        if value.dtype == torch.uint8:
            bits.append(value)
            continue
        term = affine(value, weight, bias)
        total = term if total is None else total.add_(term)
    assert total is not None  # as `_check` has seen
    for each in bits:
        total.add_(unpack(each, shape, torch.uint8))
    return total


def lif_step_of(
    current: Tensor, last: Tensor | None, dynamics: Dynamics, past: Past
) -> tuple[Tensor, Tensor]:
    """Return what `lif_step` returns, keeping only `past` for the backward.

    Args:
        current: input current of this step, ``[B, ...]``, float32 or wider.
        last: the last step's potential; None at the first step. It takes the gradient.
        dynamics: the layer's constants.
        past: up to this step, whose current is the sum of the last terms; as far as they go back,
            the backward runs the layer's element-wise part again.

    Returns:
        Spikes and potential, both in the dtype of `current`.
    """
    _check(current, last, past)
    kept = _Kept()
    currents = tuple(tuple(kept.places(term) for term in terms) for terms in past.currents)
    way = _Way(currents, current.shape, dynamics, past.midway)
    start = None if past.start is None else past.start.detach()
    spikes: Tensor
    spikes, u = _StepOfTerms.apply(current, last, way, start, *kept.tensors)
    return spikes, u


def _check(current: Tensor, last: Tensor | None, past: Past) -> None:
    """Refuse a past whose currents cannot be those of these neurons."""
    name = "lif_step_of"
    operands.of_type(name, operands.WIDE, current=current)
    operands.alike(name, current, last=last, start=past.start)
    for terms in past.currents or ((),):
        if not any(isinstance(term, Normalised) for term in terms):
            legal = "one or two terms a step, of which one is `Normalised`"
            raise OperandError(f"ratebp.ops.{name}: a step has the terms {terms}. Legal: {legal}.")
        for term in terms:
            check_term(name, term, current, (tuple(current.shape),))


class _Kept:
    """The tensors of terms, each once: the steps of a layer share weight and bias."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self._places: dict[int, int] = {}

    def places(self, term: Term) -> _Places:
        if isinstance(term, Spikes):
            return self._place(term.bits), None, None
        x, weight, bias = term.xhat, term.weight, term.bias
        return (
            self._place(x),
            None if weight is None else self._place(weight, x),
            None if bias is None else self._place(bias, x),
        )

    def _place(self, tensor: Tensor, like: Tensor | None = None) -> int:
        """Return the place of a tensor, or of what it is along the channels of `like`."""
        if id(tensor) not in self._places:
            self._places[id(tensor)] = len(self.tensors)
            fixed = tensor.detach()
            self.tensors.append(fixed if like is None else along_channels(fixed, like))
        return self._places[id(tensor)]
