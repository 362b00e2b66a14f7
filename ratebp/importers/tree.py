"""A copy of a foreign model that shares its tensors, with modules of other classes in places."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from ratebp.errors import BindError


def copy_sharing_tensors(model: nn.Module, instead: Mapping[int, nn.Module]) -> nn.Module:
    """Return a copy of the tree of `model` that shares every parameter and buffer.

    Args:
        model: the source, which stays as it is.
        instead: what stands in the copy for a module of the source, by its id.

    Raises:
        BindError: for a model that cannot be copied.
    """
    memo: dict[int, Any] = dict(instead)
    for module in model.modules():
        memo.update((id(t), t) for value in module.__dict__.values() for t in tensors_in(value))
    return _copied(model, memo)


def apart(model: nn.Module) -> nn.Module:
    """Return a copy of `model` in float64 on the CPU, which shares nothing with it.

    Raises:
        BindError: for a model that cannot be copied.
    """
    memo: dict[int, Any] = {}
    for module in model.modules():
        for value in module.__dict__.values():
            # What a forward left behind has a graph and cannot be copied with it.
            left = (t for t in tensors_in(value) if not t.is_leaf)
            memo.update((id(t), t.detach().clone()) for t in left)
    return _copied(model, memo).double().cpu()


def recast(module: nn.Module, cls: type[nn.Module], **attributes: object) -> nn.Module:
    """Return a module of class `cls` with the tensors and plain attributes of `module`.

    Args:
        module: of a subclass of `cls`, without children.
        cls: torch's own class.
        **attributes: what it has besides.
    """
    made = cls.__new__(cls)
    tables = ("_parameters", "_buffers", "_modules")
    made.__dict__ = {
        name: copy.copy(value) if name in tables else value
        for name, value in module.__dict__.items()
    }
    made.__dict__.update(attributes)
    return made


def _copied(model: nn.Module, memo: dict[int, Any]) -> nn.Module:
    try:
        return copy.deepcopy(model, memo)
    except Exception as error:
        raise BindError(
            f"{type(model).__name__} cannot be copied, which an importer does to swap its neurons "
            f"({type(error).__name__}: {error}). Keep what is no module, tensor or plain value out "
            "of the model."
        ) from error


def tensors_in(value: object) -> Iterator[Tensor]:
    """Yield the tensors in nested plain containers."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from tensors_in(each)
    elif isinstance(value, list | tuple | set):
        for each in value:
            yield from tensors_in(each)
