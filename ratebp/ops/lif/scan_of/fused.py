"""The LIF scan from what the leaves before it keep, as operators of one pass each way.

The forward adds up the terms as well, instead of reading the sum that it is given, so that both
directions see the same potentials to the bit.
"""

from typing import Any

import torch
from torch import Tensor

from ratebp.dynamics import Dynamics
from ratebp.ops.backends import kernels
from ratebp.ops.fused import dense, empty_dense, equation_of, laid_out, operator
from ratebp.ops.lif.scan.fused import lif_spikes
from ratebp.ops.lif.scan_of.torch import Term, kept_of
from ratebp.ops.terms import Terms, check_terms, kind, terms_of


@operator("lif_spikes_of")
def _forward(
    a: Tensor, a_weight: Tensor | None, a_bias: Tensor | None, b: Tensor | None,
    b_weight: Tensor | None, b_bias: Tensor | None, channels: int, channels_last: bool,
    equation: str,
) -> Tensor:  # fmt: skip
    terms = Terms(a, a_weight, a_bias, b, b_weight, b_bias, channels, channels_last)
    check_terms("lif_spikes_of", terms, a)
    out = empty_dense(a, 1, a.dtype)
    kernels("lif_spikes_of", a).forward(equation, terms, out)
    return out


@_forward.register_fake
def _(
    a: Tensor, a_weight: Tensor | None, a_bias: Tensor | None, b: Tensor | None,
    b_weight: Tensor | None, b_bias: Tensor | None, channels: int, channels_last: bool,
    equation: str,
) -> Tensor:  # fmt: skip
    return empty_dense(a, 1, a.dtype)


@operator("lif_recomputed_backward")
def _backward(
    grad: Tensor, a: Tensor, a_weight: Tensor | None, a_bias: Tensor | None, b: Tensor | None,
    b_weight: Tensor | None, b_bias: Tensor | None, channels: int, channels_last: bool,
    equation: str,
) -> Tensor:  # fmt: skip
    terms = Terms(a, a_weight, a_bias, b, b_weight, b_bias, channels, channels_last)
    check_terms("lif_recomputed_backward", terms, grad)
    out = empty_dense(grad, 1, grad.dtype)
    kernels("lif_recomputed_backward", grad).backward(equation, grad, terms, out)
    return out


@_backward.register_fake
def _(
    grad: Tensor, a: Tensor, a_weight: Tensor | None, a_bias: Tensor | None, b: Tensor | None,
    b_weight: Tensor | None, b_bias: Tensor | None, channels: int, channels_last: bool,
    equation: str,
) -> Tensor:  # fmt: skip
    return empty_dense(grad, 1, grad.dtype)


class _FusedScanOfTerms(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, current: Tensor, equation: str, *kept: Tensor | None) -> Tensor:
        ctx.save_for_backward(*kept)
        ctx.equation = equation
        terms = terms_of(kept, current.shape)
        spikes: Tensor
        if kind(terms.a) == "bits":
            spikes = lif_spikes(dense(current, 1), equation)
        else:
            spikes = _forward(*terms, equation)
        return spikes

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        terms = terms_of(ctx.saved_tensors, grad.shape)
        out = _backward(laid_out(grad, terms.strides(grad.shape), 1), *terms, ctx.equation)
        return out, None, *[None] * len(ctx.saved_tensors)


def lif_scan_of(current: Tensor, dynamics: Dynamics, terms: tuple[Term, ...]) -> Tensor:
    """Return what `lif_scan` returns, keeping only `terms` for the backward.

    Args:
        current: input current, ``[T, B, ...]``; takes the gradient. Its value is read only where
            spikes are the one term.
        dynamics: the layer's constants.
        terms: one or two whose sum is the current, in the type of `current`, which must be
            float32 or wider.
    """
    out: Tensor = _FusedScanOfTerms.apply(current, equation_of(dynamics), *kept_of(terms))
    return out
