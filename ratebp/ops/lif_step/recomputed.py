"""One time step of a LIF layer that keeps nothing of its own: potentials are made anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ratebp.dynamics import Dynamics
from ratebp.ops.bits import unpack
from ratebp.ops.lif_scan.adjoint import carry_into
from ratebp.ops.lif_scan.recomputed import Spikes, Term
from ratebp.ops.norm_replay import affine
from ratebp.ops.spike import slope, slope_


@dataclass(frozen=True)
class Past:
    """What the potential of a step follows from.

    Attributes:
        start: the potential that the first of `currents` came upon; None at rest.
        currents: for each step since, and for this one, the one or two terms of its current.
    """

    start: Tensor | None = None
    currents: tuple[tuple[Term, ...], ...] = ()

    def then(self, terms: tuple[Term, ...]) -> Past:
        """Return what the potential follows from after one more step."""
        return Past(self.start, (*self.currents, terms))


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        current: Tensor,
        last: Tensor | None,
        dynamics: Dynamics,
        counts: tuple[int, ...],
        start: Tensor | None,
        *kept: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(start, *kept)
        ctx.dynamics, ctx.counts, ctx.shape = dynamics, counts, current.shape
        ctx.set_materialize_grads(False)
        u = current.clone() if last is None else _upon(last, current, dynamics)
        return torch.ge(u, dynamics.threshold, out=torch.empty_like(u)), u

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        start, *kept = ctx.saved_tensors
        none = [None] * (3 + len(kept))
        dynamics: Dynamics = ctx.dynamics
        last, u = _potentials(start, kept, ctx.counts, ctx.shape, dynamics)
        by_spikes, by_potential = grads
        du = _adjoint(u, by_spikes, by_potential, dynamics)
        if not ctx.needs_input_grad[1]:
            return du, None, *none
        if dynamics.constant_jacobian:
            return du, du * dynamics.decay, *none
        assert last is not None
        return du, du * dynamics.carry_grad(last, slope(last, dynamics)), *none


def _adjoint(u: Tensor, ds: Tensor | None, later: Tensor | None, dynamics: Dynamics) -> Tensor:
    """Return ``ds h'(u - threshold) + later`` in the memory of `u`."""
    du = u.zero_() if ds is None else slope_(u, dynamics).mul_(ds)
    return du if later is None else du.add_(later)


def _upon(last: Tensor, current: Tensor, dynamics: Dynamics) -> Tensor:
    """Return the potential after `current` came upon that of the last step."""
    return carry_into(torch.empty_like(current), last, dynamics).add_(current)


def _potentials(
    start: Tensor | None,
    kept: list[Tensor | None],
    counts: tuple[int, ...],
    shape: torch.Size,
    dynamics: Dynamics,
) -> tuple[Tensor | None, Tensor]:
    """Return the last step's potential, None at rest, and this step's, in fresh memory."""
    last, u = None, start
    for count in counts:
        terms, kept = kept[: 3 * count], kept[3 * count :]
        current = _sum(terms, shape)
        last, u = u, current if u is None else _upon(u, current, dynamics)
    assert u is not None
    return last, u


def _sum(terms: list[Tensor | None], shape: torch.Size) -> Tensor:
    """Return the current that the flattened `terms` add up to, in fresh memory."""
    total: Tensor | None = None
    bits: list[Tensor] = []
    for kept, weight, bias in zip(terms[::3], terms[1::3], terms[2::3], strict=True):
        assert kept is not None
        if kept.dtype == torch.uint8:
            bits.append(kept)
            continue
        term = affine(kept, weight, bias).view(shape)
        total = term if total is None else total.add_(term)
    assert total is not None  # a sum of spikes alone is no current that leaves share
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
    kept: list[Tensor | None] = []
    for terms in past.currents:
        for term in terms:
            if isinstance(term, Spikes):
                kept += [term.bits, None, None]
            else:
                kept += [term.xhat, term.weight, term.bias]
    start = None if past.start is None else past.start.detach()
    fixed = [None if each is None else each.detach() for each in kept]
    counts = tuple(len(terms) for terms in past.currents)
    spikes: Tensor
    spikes, u = _Recomputed.apply(current, last, dynamics, counts, start, *fixed)
    return spikes, u
