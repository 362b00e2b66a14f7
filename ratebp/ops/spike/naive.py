"""The spike function in plain torch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ratebp.surrogates import Surrogate


class _Heaviside(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, threshold: float, surrogate: Surrogate) -> Tensor:
        # The potential itself is kept, not u - threshold: it lives on as the neuron's state anyway.
        ctx.save_for_backward(u)
        ctx.threshold, ctx.surrogate = threshold, surrogate
        return (u >= threshold).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (u,) = ctx.saved_tensors
        return grads[0] * ctx.surrogate.derivative(u - ctx.threshold), None, None


def spike(u: Tensor, threshold: float, surrogate: Surrogate) -> Tensor:
    """Return 1 where ``u >= threshold``, else 0, in u's dtype; ``ds/du = h'(u - threshold)``.

    Args:
        u: potential, any shape.
        threshold: where the neuron fires.
        surrogate: the derivative's shape.
    """
    out: Tensor = _Heaviside.apply(u, threshold, surrogate)
    return out
