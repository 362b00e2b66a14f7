"""The parallel spiking neuron as one matrix product."""

from __future__ import annotations

import torch
from torch import Tensor

from ratebp.ops import operands
from ratebp.ops.spike import spike
from ratebp.surrogates import Surrogate


def psn(current: Tensor, mixing: Tensor, threshold: Tensor, surrogate: Surrogate) -> Tensor:
    """Return the spikes of a PSN layer for a whole sequence, like `naive_psn`.

    What is kept for the backward is the current and the distance to the threshold.

    Args:
        current: input current, ``[T, B, ...]``.
        mixing: weight of step j in step t, ``[T, T]``.
        threshold: of each step, ``[T]``.
        surrogate: the derivative's shape.

    Returns:
        Spikes, shape and dtype of `current`.
    """
    operands.sequence("psn", current)
    steps = len(current)
    for name, x, shape in (("mixing", mixing, [steps] * 2), ("threshold", threshold, [steps])):
        if list(x.shape) != shape:
            raise operands.refused("psn", name, x, f"{shape} for {steps} time steps")
    wide = torch.promote_types(current.dtype, torch.float32)
    # Like every potential it integrates in float32 under autocast, which would round the product.
    with torch.autocast(current.device.type, enabled=False):
        margin = torch.addmm(
            -threshold.to(wide).unsqueeze(1), mixing.to(wide), current.to(wide).flatten(1)
        )
    return spike(margin, 0.0, surrogate).view(current.shape).to(current.dtype)
