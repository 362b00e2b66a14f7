"""Batch norm on mean rates: values of the spike pass, derivative by autograd."""

from __future__ import annotations

import torch
from torch import Tensor


def naive_norm_replay(
    c: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    eps: float,
) -> Tensor:
    """Return ``weight * (c - mean) / sqrt(variance + eps) + bias``, straight-through statistics.

    The values of `mean` and `variance` are the spike pass's; their derivatives by `c` are those of
    the statistics of `c` itself over all dimensions but the channel (rate-BP, appendix B.3)::

        mu = mean(c),   sigma^2 = mean((c - mean)^2)

    Args:
        c: mean pre-activation ``[B, C, ...]``.
        weight: scale ``[C]``, or None.
        bias: shift ``[C]``, or None.
        mean: ``[C]``, of the spike pass.
        variance: ``[C]``, of the spike pass, biased.
        eps: added to the variance.
    """
    others = [d for d in range(c.dim()) if d != 1]
    shape = [-1 if d == 1 else 1 for d in range(c.dim())]
    own_mean = c.mean(others)
    shown_mean = own_mean + (mean - own_mean).detach()
    centred = c - shown_mean.view(shape)
    own_variance = (centred**2).mean(others)
    shown_variance = own_variance + (variance - own_variance).detach()
    xhat = centred / torch.sqrt(shown_variance + eps).view(shape)
    out = xhat if weight is None else xhat * weight.view(shape)
    return out if bias is None else out + bias.view(shape)
