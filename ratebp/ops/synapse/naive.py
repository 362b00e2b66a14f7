"""The substituted synapse for any linear layer, by autograd alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.conv import _ConvNd


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
        bias_scale: 0-dim factor on the gradient of the offset: of `bias` in layers of torch, of
            what others give for the input 0; None for 1.
    """
    parameters: dict[str, Tensor] = dict(layer.named_parameters())
    fixed = {name: p.detach() for name, p in parameters.items()}
    through_x = functional_call(layer, fixed, (x,))
    bias = parameters.get("bias")
    torchs_own = isinstance(layer, nn.Linear | _ConvNd)
    if bias_scale is not None and bias is not None and torchs_own:
        parameters["bias"] = bias.detach() + bias_scale * (bias - bias.detach())
    at = x if source is None else source
    through_weights = functional_call(layer, parameters, (at.detach(),))
    if bias_scale is not None and not torchs_own:
        # What a layer of any kind gives for the input 0 is its offset, whatever it is made of.
        offset = functional_call(layer, parameters, (torch.zeros_like(at),))
        through_weights = through_weights + (bias_scale - 1) * offset
    with torch.no_grad():
        shown = through_x if value is None else value
    by_input = through_x - through_x.detach()
    out: Tensor = shown.detach() + by_input + (through_weights - through_weights.detach())
    return out
