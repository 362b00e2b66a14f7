"""What an operation is called with, on tensors without values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ratebp.graph.names import SHAPE_OF_OTHER, VALUED

MOVED = frozenset({"to", "cpu", "cuda", "type", "pin_memory"})
"""What gives the same on the one device that there is, or another type."""


def meta(tensor: Tensor) -> Tensor:
    """Return a tensor like `tensor` without values."""
    made = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
    return nn.Parameter(made, False) if isinstance(tensor, nn.Parameter) else made


def has_tensors(value: Any) -> bool:
    """Is it a collection of tensors?"""
    if isinstance(value, Mapping):
        return has_tensors(tuple(value.values()))
    return isinstance(value, tuple | list) and any(isinstance(each, Tensor) for each in value)


def is_named(value: Any) -> bool:
    """Is it a named tuple, which is made of its parts one by one?"""
    return isinstance(value, tuple) and "_fields" in dir(type(value))


def read_by(name: str, args: Any) -> Any:
    """Return the arguments whose values matter; of the others an operation reads the shape."""
    if name in SHAPE_OF_OTHER or name == "to":
        others = (each.dtype if isinstance(each, Tensor) else each for each in args[1:])
        return (*args[:1], *others) if name in ("to", "type_as") else args[:1]
    takes_shape = name in VALUED and bool(args) and isinstance(args[0], Tensor)
    return args[1:] if takes_shape else args


def called(name: str, args: Any) -> str:
    """torch.tensor(x) is a factory of numbers, and a copy of a tensor."""
    return "clone" if name == "tensor" and args and isinstance(args[0], Tensor) else name


def versions(value: Any) -> list[tuple[Tensor, int]]:
    """Return the tensors in nested arguments, and how often each was changed."""
    if isinstance(value, Tensor):
        return [(value, value._version)]
    if isinstance(value, tuple | list):
        return [found for each in value for found in versions(each)]
    if isinstance(value, dict):
        return [found for each in value.values() for found in versions(each)]
    return []


def without_devices(value: Any) -> Any:
    """Leave devices out: all is on one. Names of types stand for their types."""
    if isinstance(value, tuple):
        typed = (_type_of(v) if isinstance(v, str) and "Tensor" in v else v for v in value)
        return tuple(v for v in typed if not isinstance(v, torch.device | str))
    return {k: v for k, v in value.items() if k != "device"}


def _type_of(name: str) -> torch.dtype:
    return torch.empty(0).type(name.replace(".cuda", "")).dtype
