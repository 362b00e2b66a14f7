"""A parameter used at many time steps whose gradients go to `.grad` without a second buffer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Accumulate(torch.autograd.Function):
    """Identity; its backward adds the gradient to the parameter's `.grad`."""

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
    """Return whether the running backward adds to `.grad`; `torch.autograd.grad` does not."""
    try:
        return torch._C._will_engine_execute_node(accumulate)
    except RuntimeError:  # torch answers for leaves in `backward` alone
        return False


def has_hooks(parameter: Tensor) -> bool:
    """Return whether hooks on `parameter` wait for its gradient (`register_hook` and the like)."""
    return bool(parameter._backward_hooks) or bool(parameter._post_accumulate_grad_hooks)


def accumulating(parameter: Tensor) -> Tensor:
    """Return `parameter` for one use, whose gradient the backward adds to `.grad` immediately.

    Autograd sums the gradients of all uses of a parameter in a buffer before it adds the sum to
    `.grad`. With many time steps these buffers, as large as all parameters, exist for most of the
    backward. Adding each use's gradient to `.grad` directly needs no buffer. Where `.grad` is None,
    autograd makes the buffer the new `.grad`, so nothing is saved and nothing changes. Under
    `torch.autograd.grad`, which returns gradients and leaves `.grad` alone, the gradient is
    returned.

    Use the parameter itself, without this function, at least once in each graph. Then whatever
    waits for its gradient (hooks, DistributedDataParallel) is called once, after the last addition.

    Args:
        parameter: a leaf; returned as it is if it needs no gradient, no graph is built, or hooks
            must see the whole gradient before it is added.
    """
    wanted = torch.is_grad_enabled() and parameter.requires_grad and parameter.is_leaf
    if not wanted or torch.compiler.is_compiling() or has_hooks(parameter):
        return parameter
    out: Tensor = _Accumulate.apply(parameter)
    return out
