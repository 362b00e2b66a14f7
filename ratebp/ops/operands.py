"""What operators ask of their operands, the readable ones and the kernels alike.

Tensors that do not fit together are refused by name, before anything is computed: no operator
broadcasts one against another, since the gradient that it writes out would be that of another map.
Checks are a few comparisons a call and read no element.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ratebp.errors import OperandError
from ratebp.ops.fused import is_dense

WIDE = (torch.float32, torch.float64)
"""The types in which potentials integrate."""


def refused(operator: str, name: str, found: Tensor | None, legal: str) -> OperandError:
    """Return the error for an operand `name` of an operator; `legal` says what it may be."""
    if found is None:
        given = "missing"
    else:
        given = f"{list(found.shape)}, {found.dtype} on {found.device}"
        given += f" with strides {list(found.stride())}"
    return OperandError(f"ratebp.ops.{operator}: `{name}` is {given}. Legal: {legal}.")


def sequence(operator: str, current: Tensor) -> None:
    """Refuse what has no time steps."""
    if not current.dim() or not current.shape[0]:
        raise refused(operator, "current", current, "[T, B, ...] with at least one time step")


def alike(operator: str, like: Tensor, **others: Tensor | None) -> None:
    """Refuse tensors that have not the shape of `like`, or are on another device."""
    for name, x in others.items():
        if x is not None and (x.shape != like.shape or x.device != like.device):
            legal = f"{list(like.shape)} on {like.device}, as the operand before it; it is not "
            raise refused(operator, name, x, legal + "broadcast: expand it, or add it up before")


def channels(operator: str, like: Tensor, **factors: Tensor | None) -> None:
    """Refuse factors that are not one number for each channel of `like`, ``[N, C, ...]``."""
    if like.dim() < 2:
        raise refused(operator, "the input", like, "[N, C, ...]")
    number, dims = like.shape[1], like.dim()
    for name, x in factors.items():
        if x is None:
            continue
        along = x.dim() == 1 or (x.dim() == dims and x.shape[1] == number)
        fits = along and x.numel() == number and x.is_floating_point()
        if not fits or x.device != like.device:
            legal = f"[{number}], floats on {like.device}, one for each channel"
            raise refused(operator, name, x, legal)


def bits(operator: str, name: str, x: Tensor, elements: int) -> None:
    """Refuse what is not the bits of so many elements, as `pack` makes them."""
    number = -(-elements // 8)
    if x.dtype != torch.uint8 or x.shape != (number,):
        legal = f"[{number}] torch.uint8, the bits of {elements} spikes as `pack` makes them"
        raise refused(operator, name, x, legal)


def of_type(operator: str, types: tuple[torch.dtype, ...], **others: Tensor | None) -> None:
    """Refuse tensors of other types."""
    for name, x in others.items():
        if x is not None and x.dtype not in types:
            raise refused(operator, name, x, " or ".join(map(str, types)))


def dense(operator: str, first: int, **others: Tensor) -> None:
    """Refuse tensors whose dimensions from `first` on do not fill a stretch of memory."""
    for name, x in others.items():
        if not is_dense(x.shape[first:], x.stride()[first:]):
            raise refused(operator, name, x, f"a tensor that is dense from dimension {first} on")


def laid_out_alike(operator: str, like: Tensor, first: int, **others: Tensor | None) -> None:
    """Refuse tensors that have not the shape of `like`, and from `first` on not its strides."""
    alike(operator, like, **others)
    strided(operator, like.stride(), first, **others)


def strided(operator: str, strides: tuple[int, ...], first: int, **others: Tensor | None) -> None:
    """Refuse tensors that from dimension `first` on have other strides, where they matter."""
    for name, x in others.items():
        if x is None or x.stride()[first:] == strides[first:] or 0 in x.shape:
            continue
        if any(x.stride(d) != strides[d] for d in range(first, x.dim()) if x.shape[d] != 1):
            legal = f"one with strides {list(strides)} from dimension {first} on"
            raise refused(operator, name, x, legal)


def stacked(operator: str, **others: Tensor) -> None:
    """Refuse time steps that are not dense, or do not follow one another in memory."""
    dense(operator, 1, **others)
    for name, x in others.items():
        if x.shape[0] > 1 and x.numel() and x.stride(0) != x[0].numel():
            raise refused(operator, name, x, "steps that follow one another in memory")
