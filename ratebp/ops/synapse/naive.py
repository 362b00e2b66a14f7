"""The substituted synapse for any linear layer, by autograd alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call


def naive_synapse(
    layer: nn.Module,
    x: Tensor,
    source: Tensor | None = None,
    value: Tensor | None = None,
    bias_scale: Tensor | None = None,
) -> Tensor:
    """Return ``layer(x)`` with its value, or its weight gradient's input, replaced.

    Args:
        layer: any layer that is linear in its input, up to a bias.
        x: input ``[B, ...]``; receives the gradient by the input.
        source: the input that the parameters' gradients are taken at; None for `x`.
        value: what to return as the value; None to compute it from `x`.
        bias_scale: 0-dim factor on the gradient of the parameter called `bias`; None for 1.
    """
    parameters: dict[str, Tensor] = dict(layer.named_parameters())
    fixed = {name: p.detach() for name, p in parameters.items()}
    through_x = functional_call(layer, fixed, (x,))
    bias = parameters.get("bias")
    if bias_scale is not None and bias is not None:
        parameters["bias"] = bias.detach() + bias_scale * (bias - bias.detach())
    at = x if source is None else source
    through_weights = functional_call(layer, parameters, (at.detach(),))
    with torch.no_grad():
        shown = through_x if value is None else value
    by_input = through_x - through_x.detach()
    out: Tensor = shown.detach() + by_input + (through_weights - through_weights.detach())
    return out
