"""The spike function in plain torch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ratebp.surrogates import Surrogate


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, surrogate: Surrogate) -> Tensor:
        ctx.save_for_backward(x)
        ctx.surrogate = surrogate
        return (x >= 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return grads[0] * ctx.surrogate.derivative(x), None


def spike(x: Tensor, surrogate: Surrogate) -> Tensor:
    """Return 1 where ``x >= 0`` and 0 elsewhere, in x's dtype; ``ds/dx = h'(x)``.

    Args:
        x: potential minus threshold, any shape.
        surrogate: the derivative's shape.
    """
    out: Tensor = _Spike.apply(x, surrogate)
    return out
