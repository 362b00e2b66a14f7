"""The LIF scan in C++ from what the leaves before it keep, called as the Triton kernels are."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ratebp.ops.bits.fused import bytes_for
from ratebp.ops.cpp import call
from ratebp.ops.terms import Terms, step_of


def forward(equation: str, terms: Terms, out: Tensor) -> None:
    """Fill `out` with the spikes."""
    call("lif_spikes_of", equation, *_passed(terms, out), out)


def backward(equation: str, grad: Tensor, terms: Terms, out: Tensor) -> None:
    """Fill `out` with the gradient by the current."""
    call("lif_recomputed_backward", equation, *_passed(terms, out), grad, grad.stride(0), out)


def _passed(terms: Terms, like: Tensor) -> tuple[Any, ...]:
    steps, number = like.shape[0], like[0].numel()
    dense = (x if x is None else x.to(like.dtype).contiguous() for x in terms[1:3] + terms[4:6])
    a_weight, a_bias, b_weight, b_bias = dense
    return (
        *(terms.a, a_weight, a_bias, step_of(terms.a)),
        *(terms.b, b_weight, b_bias, step_of(terms.b)),
        *(terms.channels, terms.pixels(like), terms.channels_last),
        *(bytes_for(like.numel()), steps, number),
    )
