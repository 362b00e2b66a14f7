"""Which operators are element-wise, by name and by torch's tags."""

from __future__ import annotations

from functools import cache
from typing import Final

import torch
from torch._ops import OpOverload


def words(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


NATIVE: Final = words("aten prims prim")
"""Namespaces of torch's own operators."""

FOREACH: Final = "_foreach_"
"""What names of operators on lists of tensors begin with."""

_FOREACH_REDUCTIONS: Final = words("norm max powsum")
_COPIES: Final = words(
    """
    copy _to_copy fill zero cat stack select_backward slice_backward select_scatter slice_scatter
    zeros zeros_like new_zeros ones ones_like new_ones full full_like new_full scalar_tensor arange
    rand rand_like randn randn_like randint randint_like normal uniform random exponential bernoulli
    native_dropout _fused_dropout _fused_sgd _fused_adam _fused_adamw
    """
)


def base_name(func: OpOverload) -> str:
    """Name of an operator without namespace, overload and the mark of in-place forms."""
    return func._overloadpacket.__name__.removesuffix("_")


@cache
def is_elementwise(func: OpOverload) -> bool:
    """Does every element of a result come from at most one element of each argument?

    Of torch's operators those that it tags `pointwise` in any overload, and those that copy, fill
    or draw; of another library's those that are tagged themselves.
    """
    base = base_name(func)
    if func.namespace not in NATIVE:
        return torch.Tag.pointwise in func.tags
    if base.startswith(FOREACH):
        return base.removeprefix(FOREACH) not in _FOREACH_REDUCTIONS
    return base in _COPIES or any(_tagged(name) for name in (base, base + "_"))


def _tagged(name: str) -> bool:
    """Has any overload of an operator of torch the tag? Torch tags some and forgets others."""
    packet = getattr(torch.ops.aten, name, None)
    if packet is None:
        return False
    return any(torch.Tag.pointwise in getattr(packet, o).tags for o in packet.overloads())
