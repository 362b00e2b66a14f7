"""What a forward writes on its modules, seen on a copy."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ratebp.roles import role_of

_TABLES = ("_parameters", "_buffers", "_modules")


def copy_of(model: nn.Module, tensors: Mapping[int, Tensor] | None = None) -> nn.Module:
    """Return a copy of the tree of `model` that shares its parameters and buffers.

    Args:
        model: what is copied; it stays as it is.
        tensors: what stands for a parameter or buffer, by its id; itself where absent.
    """
    memo: dict[int, Any] = {id(t): t for t in (*model.parameters(), *model.buffers())}
    return copy.deepcopy(model, memo | dict(tensors or {}))


class Watch:
    """Compares the attributes of a tree's modules with what they were."""

    def __init__(self, tree: nn.Module) -> None:
        """Note all attributes, and let modules without a role tell who asks for `training`."""
        self.training_read = False
        self._modules = dict(tree.named_modules())
        for module in self._modules.values():
            if role_of(module) is None and not type(module).__module__.startswith("torch.nn"):
                self._tell(module)
        self._before = {path: _attributes(module) for path, module in self._modules.items()}

    def written(self) -> tuple[str, ...]:
        """Return the names of attributes that are no longer what they were."""
        found = []
        for path, module in self._modules.items():
            before, now = self._before[path], _attributes(module)
            changed = [name for name in now if before.get(name) != now[name]]
            found += [f"{path}.{name}" if path else name for name in changed]
        return tuple(found)

    def _tell(self, module: nn.Module) -> None:
        watch, training = self, module.training

        def asked(self: nn.Module) -> bool:
            watch.training_read = True
            return training

        kind = type(module)
        body = {"training": property(asked), "__module__": kind.__module__}
        del module.__dict__["training"]
        module.__class__ = type(kind.__name__, (kind,), body)


def _attributes(module: nn.Module) -> dict[str, Any]:
    found = {
        name: _mark(value)
        for name, value in module.__dict__.items()
        if name not in (*_TABLES, "forward", "keep") and not name.startswith("_tensor_constant")
    }
    for table in _TABLES:
        found |= {name: id(value) for name, value in module.__dict__[table].items()}
    return found


def _mark(value: Any) -> Any:
    """Return something that differs when `value` is replaced, or grows, shrinks or swaps items."""
    if isinstance(value, list | tuple | set | frozenset):
        return (id(value), *map(id, value))
    if isinstance(value, dict):
        return (id(value), *map(id, value.values()))
    if isinstance(value, bool | int | float | str | None):
        return value
    return id(value)
