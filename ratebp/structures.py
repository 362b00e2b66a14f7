"""What a model takes and returns: one tensor, or tuples, lists and dicts of tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree

Output = Any
"""A tensor ``[B, ...]``, or tuples, lists and dicts of such, nested as the model likes."""


def mapped(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """Return `tree` with ``function(member, *those of the others)`` in place of every member."""
    if isinstance(tree, Tensor):
        return function(tree, *others)
    return _pytree.tree_map(function, tree, *others)


def members(tree: Any) -> list[Any]:
    """Return the members of `tree` in their order: itself, if it is no structure."""
    return [tree] if isinstance(tree, Tensor) else _pytree.tree_leaves(tree)


def named_members(tree: Any) -> list[tuple[str, Any]]:
    """Return the members of `tree` with how Python reaches them: ``[0]``, ``['logits']``."""
    if isinstance(tree, Tensor):
        return [("", tree)]
    found, _ = _pytree.tree_flatten_with_path(tree)
    return [(_pytree.keystr(path), member) for path, member in found]


def mean_of(steps: Sequence[Output]) -> Output:
    """Return the mean over time of the outputs of T steps, member by member."""
    return mapped(lambda *each: torch.stack(each).mean(0), steps[0], *steps[1:])


def detached(out: Output) -> Output:
    """Return `out` without its graph."""
    return mapped(Tensor.detach, out)


def unbound(out: Output, timesteps: int) -> tuple[Output, ...]:
    """Return T outputs ``[B, ...]`` of one whose members are ``[T, B, ...]``."""
    if isinstance(out, Tensor):
        return out.unbind(0)
    return tuple(mapped(lambda each, t=t: each[t], out) for t in range(timesteps))
