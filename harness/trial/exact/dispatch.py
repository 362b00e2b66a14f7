"""What everything that watches torch's dispatcher shares: operators, their tensors, storages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from harness.errors import TrialError

REMEDY: Final = "Track it in eager torch operators, or measure it by the allocator's peak on a GPU."
_DECOMPOSED: Final = "CompositeImplicitAutograd"
_TORCHSCRIPT: Final = "prim"  # some of its operators are unknown to the dispatcher


def tensors(*values: Any) -> list[Tensor]:
    """Every tensor in the nested arguments or results of an operator, in order."""
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, (tuple, list)):
            found += tensors(*value)
        elif isinstance(value, dict):
            found += tensors(*value.values())
    return found


def storage_or_none(tensor: Tensor) -> torch.UntypedStorage | None:
    """The storage of a tensor, if it has one of its own.

    While a storage lives, torch hands out the same Python object for it, so `id` tells it apart.
    """
    try:
        return tensor.untyped_storage()
    except (NotImplementedError, RuntimeError, ValueError):
        return None


def storage_of(tensor: Tensor) -> torch.UntypedStorage:
    """The storage of a dense tensor.

    Raises:
        TrialError: if the tensor has none that could be counted.
    """
    storage = storage_or_none(tensor)
    if storage is None:
        raise TrialError(
            f"live-bytes tracker: a {type(tensor).__name__} of layout {tensor.layout} has no "
            f"storage of its own to count; legal: dense tensors. {REMEDY}"
        )
    return storage


@cache
def is_composite(func: Any) -> bool:
    """Does torch run this operator as a sequence of others?

    Outside `torch.inference_mode` such operators are taken apart before a dispatch mode sees them.
    """
    if not isinstance(func, OpOverload) or func.namespace == _TORCHSCRIPT:
        return False
    has: bool = torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), _DECOMPOSED)
    return has


@contextmanager
def reentered(mode: TorchDispatchMode) -> Iterator[None]:
    """Put `mode`, which is handling an operator, back so that it sees the operator's parts."""
    TorchDispatchMode.__enter__(mode)
    try:
        yield
    finally:
        TorchDispatchMode.__exit__(mode, None, None, None)
