"""The leaf of a network that does not spike."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ratebp.views import Leaf


class _Rectify(torch.autograd.Function):
    """Keeps a mask, not the output, which a model may change in place."""

    @staticmethod
    def forward(ctx: Any, current: Tensor) -> Tensor:
        ctx.save_for_backward(current > 0)
        return current.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (positive,) = ctx.saved_tensors
        out: Tensor = grad * positive
        return out


class Rectifier(Leaf):
    """``r = max(0, current)``; the gradient at 0 is 0."""

    def forward(self, current: Tensor) -> Tensor:
        """Rectify; any shape."""
        out: Tensor = _Rectify.apply(current)  # type: ignore[no-untyped-call]
        return out
