"""A parameter that many time steps share, whose gradient waits in no buffer of autograd's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Accumulate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, parameter: Tensor) -> Tensor:
        ctx.parameter = parameter
        return parameter.view_as(parameter)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor | None:
        (grad,) = grads
        ((accumulate, _),) = ctx.next_functions
        kept = ctx.parameter.grad
        if kept is None or not _is_accumulated(accumulate):
            return grad
        kept.add_(grad)
        return None


def _is_accumulated(accumulate: Any) -> bool:
    """Does the backward that runs add to `.grad`, which `torch.autograd.grad` does not?"""
    try:
        return torch._C._will_engine_execute_node(accumulate)
    except RuntimeError:  # torch answers for leaves in `backward` alone
        return False


def has_hooks(parameter: Tensor) -> bool:
    """Does anything wait for the gradient of `parameter`, by `register_hook` or the like?"""
    return bool(parameter._backward_hooks) or bool(parameter._post_accumulate_grad_hooks)


def accumulating(parameter: Tensor) -> Tensor:
    """Return `parameter`, of whose use here the backward adds the gradient to `.grad` at once.

    Autograd sums the gradients of all uses of a parameter in a buffer before it touches `.grad`:
    over many time steps that is the size of all parameters for most of the backward. Where `.grad`
    is None the buffer becomes it, so nothing is gained or changed; and `torch.autograd.grad`, which
    returns gradients and adds none, gets them all.

    Leave at least one use of the parameter in a graph as it is: then what waits for its gradient
    (hooks, DistributedDataParallel) is called once, after the last addition, as ever.

    Args:
        parameter: a leaf; returned as it is if it needs no gradient, no graph is built, or hooks
            must see the whole gradient before it is added.
    """
    wanted = torch.is_grad_enabled() and parameter.requires_grad and parameter.is_leaf
    if not wanted or torch.compiler.is_compiling() or has_hooks(parameter):
        return parameter
    out: Tensor = _Accumulate.apply(parameter)
    return out
