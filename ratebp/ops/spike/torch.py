"""The derivative of the spike function in few passes over memory."""

from __future__ import annotations

import torch
from torch import Tensor

from ratebp.dynamics import Dynamics


def slope(u: Tensor, dynamics: Dynamics) -> Tensor:
    """Return ``h'(u - threshold)`` of a layer, in fresh memory; call it without a graph.

    Equal to the surrogate's `derivative`, which is written to be read. The sigmoid, the default,
    takes one tensor of the size of `u` here and four passes, there five and six.

    Args:
        u: potential, any shape.
        dynamics: the layer's constants.
    """
    return _at(u - dynamics.threshold, dynamics)


def slope_(u: Tensor, dynamics: Dynamics) -> Tensor:
    """Return what `slope` returns, in the memory of `u`."""
    return _at(u.sub_(dynamics.threshold), dynamics)


def _at(x: Tensor, dynamics: Dynamics) -> Tensor:
    surrogate = dynamics.surrogate
    if surrogate.name != "sigmoid":
        return x.copy_(surrogate.derivative(x))
    peak = x.new_full((), surrogate.alpha)
    sig = x.mul_(surrogate.alpha).sigmoid_()
    out: Tensor = torch.ops.aten.sigmoid_backward.grad_input(peak, sig, grad_input=sig)
    return out
