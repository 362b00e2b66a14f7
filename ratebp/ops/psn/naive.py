"""The parallel spiking neuron in plain torch, step by step, differentiated by autograd."""

from __future__ import annotations

import torch
from torch import Tensor

from ratebp.ops.spike import spike
from ratebp.surrogates import Surrogate


def naive_psn(current: Tensor, mixing: Tensor, threshold: Tensor, surrogate: Surrogate) -> Tensor:
    """Return the spikes of a PSN layer for a whole sequence.

    Args:
        current: input current, ``[T, B, ...]``.
        mixing: weight of step j in step t, ``[T, T]``.
        threshold: of each step, ``[T]``.
        surrogate: the derivative's shape.

    Returns:
        Spikes, shape and dtype of `current`.
    """
    wide = torch.promote_types(current.dtype, torch.float32)
    steps = current.to(wide).unbind(0)
    spikes = []
    for weights, level in zip(mixing.to(wide).unbind(0), threshold.to(wide).unbind(0), strict=True):
        mixed = [w * x for w, x in zip(weights.unbind(0), steps, strict=True)]
        spikes.append(spike(torch.stack(mixed).sum(0) - level, 0.0, surrogate))
    return torch.stack(spikes).to(current.dtype)
