"""Changes of a model that was bound: a view is a copy, so it would go on without them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from itertools import chain
from operator import is_
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from ratebp.errors import StaleViewError

_TABLES = ("_parameters", "_buffers", "_modules")
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_OWN = frozenset(nn.Module().__dict__) | {
    "_compiled_call_impl",
    "_reversed_padding_repeated_twice",  # of a convolution, from its padding
}
"""What every module has: the tables and hooks are compared by themselves, the rest does not act."""

_FIXED = (
    *(int, float, complex, str, bytes, bool, type(None), type, Enum),
    *(FunctionType, BuiltinFunctionType, MethodType),
    *(torch.dtype, torch.device, torch.memory_format, Generator, Tensor, nn.Module),
)
"""What is compared as it is: it cannot change, or the view has the same object."""


class _ModuleState:
    """One module as it was."""

    def __init__(self, path: str, module: nn.Module) -> None:
        self.path, self.module, self.cls = path, module, type(module)
        self.names = tuple(module.__dict__)
        self.values = list(module.__dict__.values())
        tables = [module.__dict__[name] for name in _TABLES]
        self.tables = [(table, tuple(table), list(table.values())) for table in tables]
        self.hooks = [t for t in map(module.__dict__.get, _HOOKS) if t is not None]
        own = [n for n in module.__dict__ if n not in _OWN]
        self.inside = [(n, f) for n in own if (f := frozen(module.__dict__[n])) is not None]

    def changes(self) -> Iterator[str]:
        """Say what changed, in words."""
        at = f"`{self.path}`" if self.path else "the model"
        if type(self.module) is not self.cls:
            now = type(self.module).__name__
            yield f"{at} became a {now} (by a parametrization, or an assignment)"
        for table, names, values in self.tables:
            before = dict(zip(names, values, strict=True))
            for name in {**before, **table}:
                was, now = before.get(name, _ABSENT), table.get(name, _ABSENT)
                if was is not now:
                    yield f"{self._place(name)} was {_happened(was, now)}"
        if any(self.hooks):
            yield f"hooks were registered at {at}"
        yield from self._attributes()

    def _attributes(self) -> Iterator[str]:
        now, before = self.module.__dict__, dict(zip(self.names, self.values, strict=True))
        inside = dict(self.inside)
        for name in {**before, **now}:
            if name in _OWN:
                continue
            old, new = before.get(name, _ABSENT), now.get(name, _ABSENT)
            if old is not new and not _equal(old, new):
                shown = "" if _ABSENT in (old, new) else f" from {old!r:.60} to {new!r:.60}"
                verb = "changed" if shown else _happened(old, new)
                yield f"{self._place(name)} was {verb}{shown}"
            elif name in inside and frozen(new) != inside[name]:
                yield f"{self._place(name)} was changed in place"

    def _place(self, name: str) -> str:
        return f"`{self.path}.{name}`" if self.path else f"`{name}`"


class Snapshot:
    """A model as it was bound: its modules, their classes, tensors, hooks and plain attributes.

    Values of parameters and buffers and training flags may change: views follow them.
    """

    def __init__(self, model: nn.Module) -> None:
        """Note everything."""
        self._parts = [_ModuleState(path, module) for path, module in model.named_modules()]
        self._modules = [part.module for part in self._parts]
        self._classes = [part.cls for part in self._parts]
        self._hooks = [table for part in self._parts for table in part.hooks]
        self._inside = [(p.module, *named) for p in self._parts for named in p.inside]
        self._tables = [t for part in self._parts for t, _, _ in part.tables]
        self._note()

    def refuse_changes(self) -> None:
        """Compare with the model as it is.

        Raises:
            StaleViewError: when a view would not be the model any more; it names the place.
        """
        if self._is_same():
            return
        change = next((words for part in self._parts for words in part.changes()), None)
        if change is not None:
            raise StaleViewError(
                f"{change} after bind, so the method would train the network as it was. Call bind "
                "again, as the last thing after building, moving and changing the model."
            )
        self._note()  # what is equal to what it was may stand for it from now on

    def _note(self) -> None:
        tables = [module.__dict__ for module in self._modules] + self._tables
        self._names = [*chain.from_iterable(tables)]
        self._values = [*chain.from_iterable(map(dict.values, tables))]
        self._all = tables

    def _is_same(self) -> bool:
        """Say whether nothing changed; in a few passes of C, as it is asked at every step."""
        return (
            sum(map(len, self._all)) == len(self._values)
            and all(map(is_, chain.from_iterable(map(dict.values, self._all)), self._values))
            and all(map(is_, chain.from_iterable(self._all), self._names))
            and [*map(type, self._modules)] == self._classes
            and not any(self._hooks)
            and all(frozen(m.__dict__.get(name)) == before for m, name, before in self._inside)
        )


class _NoAttribute:
    """Stands for an attribute that is not there."""


_ABSENT = _NoAttribute()


def _happened(was: object, now: object) -> str:
    if was is _ABSENT:
        return "added"
    return "removed" if now is _ABSENT else "replaced (by .to(), .half() or an assignment)"


def _equal(a: Any, b: Any) -> bool:
    if type(a) is not type(b) or isinstance(a, Tensor | nn.Module):
        return False
    before = frozen(a)
    return before == frozen(b) if before is not None else bool(a == b)


def frozen(value: Any, depth: int = 6) -> Any:
    """Return a comparable copy of what can be changed in place, None for what cannot."""
    if isinstance(value, _FIXED) or depth == 0 or _is_constant(value):
        return None
    if isinstance(value, tuple | list):
        inner = [_piece(each, depth) for each in value]
        fixed = isinstance(value, tuple) and all(isinstance(each, _FIXED) for each in value)
        return None if fixed else (type(value), inner)
    if isinstance(value, dict):
        return dict, [(key, _piece(each, depth)) for key, each in value.items()]
    if isinstance(value, set):
        return set, frozenset(value)
    if isinstance(value, np.ndarray):
        return type(value), value.tobytes()
    state = getattr(value, "__dict__", None)
    return None if not state else (type(value), [(k, _piece(v, depth)) for k, v in state.items()])


def _piece(value: Any, depth: int) -> Any:
    inside = frozen(value, depth - 1)
    if inside is not None:
        return inside
    return ("one", id(value)) if isinstance(value, Tensor | nn.Module) else value


def _is_constant(value: Any) -> bool:
    """Is it a frozen dataclass of constants, as the dynamics of a neuron are?"""
    if not is_dataclass(value) or not getattr(value, "__dataclass_params__").frozen:  # noqa: B009
        return False
    return all(
        isinstance(part := getattr(value, f.name), _FIXED) or _is_constant(part)
        for f in fields(value)
    )
