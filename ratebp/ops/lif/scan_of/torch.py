"""The LIF scan that keeps nothing of its own: its input, and so its potentials, are made anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ratebp.dynamics import Dynamics
from ratebp.errors import OperandError
from ratebp.ops import operands
from ratebp.ops.batch_norm import affine
from ratebp.ops.bits import unpack
from ratebp.ops.lif.scan.torch import run
from ratebp.ops.lif.torch import carry_into
from ratebp.ops.spike import slope, slope_


@dataclass(frozen=True)
class Normalised:
    """A term ``weight * xhat + bias`` of a current; the norm before keeps `xhat` anyway.

    It is that of all steps, folded ``[T*B, ...]``, or ``[B, ...]`` where one stands for all.
    """

    xhat: Tensor
    weight: Tensor | None
    bias: Tensor | None


@dataclass(frozen=True)
class Spikes:
    """A term of spikes, packed by `ratebp.ops.bits`; the synapses behind keep it anyway."""

    bits: Tensor


Term = Normalised | Spikes


class _ScanOfTerms(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, current: Tensor, dynamics: Dynamics, *terms: Tensor | None) -> Tensor:
        ctx.save_for_backward(*terms)
        ctx.dynamics = dynamics
        return run(current, dynamics, None)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        kept = ctx.saved_tensors
        buffer = _sum(kept, grad)
        _potentials(buffer, ctx.dynamics)
        _adjoint(buffer, grad, ctx.dynamics)
        return buffer, None, *[None] * len(kept)


def _sum(kept: tuple[Tensor | None, ...], like: Tensor) -> Tensor:
    total: Tensor | None = None
    for a, weight, bias in zip(kept[::3], kept[1::3], kept[2::3], strict=True):
        assert a is not None
        if a.dtype != torch.uint8:
            term = affine(a, weight, bias).unflatten(0, (-1, like.shape[1]))
            if total is None and len(term) < len(like):  # one step that stands for all
                term = term.expand(like.shape).contiguous()
        elif total is None:
            term = unpack(a, like.shape, like.dtype)
        else:
            term = unpack(a, like.shape, torch.uint8)
        total = term if total is None else total.add_(term)
    assert total is not None
    return total


def _potentials(current: Tensor, dynamics: Dynamics) -> None:
    """Turn the currents ``[T, ...]`` into potentials, in place."""
    left = torch.empty_like(current[0])
    last, *later = current.unbind(0)
    for slot in later:
        last = slot.add_(carry_into(left, last, dynamics))


def _adjoint(potentials: Tensor, grad: Tensor, dynamics: Dynamics) -> None:
    """Turn potentials into gradients by the currents, in place."""
    later: Tensor | None = None
    for slot, upstream in reversed(list(zip(potentials.unbind(0), grad.unbind(0), strict=True))):
        if later is None:
            slope_(slot, dynamics).mul_(upstream)
        elif dynamics.constant_jacobian:
            slope_(slot, dynamics).mul_(upstream).add_(later, alpha=dynamics.decay)
        else:
            h = slope(slot, dynamics)
            by_later = later * dynamics.carry_grad(slot, h)
            torch.mul(h, upstream, out=slot).add_(by_later)
        later = slot


def kept_of(terms: tuple[Term, ...]) -> list[Tensor | None]:
    """Return three tensors a term, None where there is none: values or bits, weight, bias."""
    kept: list[Tensor | None] = []
    for term in terms:
        if isinstance(term, Spikes):
            kept += [term.bits, None, None]
        else:
            kept += [term.xhat, term.weight, term.bias]
    return [None if each is None else each.detach() for each in kept]


def check(current: Tensor, dynamics: Dynamics, terms: tuple[Term, ...]) -> None:
    """Refuse terms of which `current` cannot be the sum: each has all its neurons."""
    name = "lif_scan_of"
    operands.sequence(name, current)
    operands.of_type(name, operands.WIDE, current=current)
    if len(terms) not in (1, 2):
        raise OperandError(f"ratebp.ops.{name}: there are {len(terms)} terms. Legal: 1 or 2.")
    batch, inner = current.shape[1:2].numel(), current.shape[2:]
    shapes = (current.shape[0] * batch, *inner), (batch, *inner)
    for term in terms:
        check_term(name, term, current, shapes)


def check_term(
    operator: str, term: Term, current: Tensor, shapes: tuple[tuple[int, ...], ...]
) -> None:
    """Refuse a term that cannot be one of `current`.

    Args:
        operator: the name of the operator that is given it.
        term: spikes, or values of one of `shapes`.
        current: the sum.
        shapes: those that values may have.
    """
    if isinstance(term, Spikes):
        operands.bits(operator, "bits", term.bits, current.numel())
        found = term.bits
    else:
        found = term.xhat
        if tuple(found.shape) not in shapes or found.dtype != current.dtype:
            legal = " or ".join(str(list(shape)) for shape in shapes)
            legal += f", {current.dtype}: a term is not broadcast. Hand their sum to `lif_scan`"
            raise operands.refused(operator, "xhat", found, legal)
        operands.channels(operator, found, weight=term.weight, bias=term.bias)
    if found.device != current.device:
        raise operands.refused(operator, "a term", found, f"on {current.device}, as the current")


def lif_scan_of(current: Tensor, dynamics: Dynamics, terms: tuple[Term, ...]) -> Tensor:
    """Return what `lif_scan` returns, keeping only `terms` for the backward.

    Args:
        current: input current, ``[T, B, ...]``, equal to the sum of `terms` in their order. On a
            backend with kernels its value is not read.
        dynamics: the layer's constants.
        terms: one or two, in the type of `current`, which must be float32 or wider.

    Returns:
        Spikes, shape and dtype of `current`.
    """
    out: Tensor = _ScanOfTerms.apply(current, dynamics, *kept_of(terms))
    return out
