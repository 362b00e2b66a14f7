"""What a forward changes apart from its tensors, detected while a copy of the model is read.

A forward may write on its modules, on what they hold, or on variables around it, and draw numbers
from generators that are not torch's. A reading must leave none of it behind.
"""

from __future__ import annotations

import copy
import pickle
import random
import sys
from collections.abc import Iterator, Mapping
from types import CellType, FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from ratebp.checks import frozen
from ratebp.graph.torch_modules import LIBRARIES
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


class Variables:
    """The variables that a model's forward uses: those of enclosing functions, and global ones.

    Args:
        tree: the model, or a copy of it.
    """

    def __init__(self, tree: nn.Module) -> None:
        """Record the present values."""
        self._all = [*_variables(tree)]

    def changed(self) -> tuple[str, ...]:
        """Return the names of the variables whose value has changed."""
        return tuple(each.name for each in self._all if each.changed)

    def restore(self) -> None:
        """Restore the recorded values."""
        for each in self._all:
            each.restore()


class Watch:
    """Compares a tree's modules, variables and generators with their state at the start.

    Attributes:
        training_read: whether the forward read `training` of a module that is no leaf.
    """

    def __init__(self, tree: nn.Module) -> None:
        """Record that state, and let modules without a role report reads of `training`."""
        self.training_read = False
        self._told: list[tuple[nn.Module, type[nn.Module], bool]] = []
        self._modules = dict(tree.named_modules())
        self._variables = Variables(tree)
        for module in self._modules.values():
            if role_of(module) is None and not _of_a_library(module):
                self._tell(module)
        self._before = {path: _attributes(module) for path, module in self._modules.items()}
        self._generators = _generators()

    def written(self) -> tuple[str, ...]:
        """Return the names of attributes and variables that are no longer what they were."""
        found = []
        for path, module in self._modules.items():
            before, now = self._before[path], _attributes(module)
            changed = [name for name in now if before.get(name) != now[name]]
            found += [f"{path}.{name}" if path else name for name in changed]
        return (*found, *self._variables.changed())

    def drawn(self) -> bool:
        """Return whether a generator that reading does not follow was drawn from."""
        return _marks(_generators()) != _marks(self._generators)

    def undo(self) -> None:
        """Restore variables, generators and modules."""
        for module, kind, training in self._told:
            module.__class__ = kind
            module.__dict__["training"] = training
        self._variables.restore()
        python, numpy, torchs = self._generators
        random.setstate(python)
        if numpy is not None:
            sys.modules["numpy"].random.set_state(numpy)
        torch.set_rng_state(torchs)

    def _tell(self, module: nn.Module) -> None:
        watch, training = self, module.training

        def asked(self: nn.Module) -> bool:
            watch.training_read = True
            return training

        kind = type(module)
        self._told.append((module, kind, training))
        body = {"training": property(asked), "__module__": kind.__module__}
        del module.__dict__["training"]
        module.__class__ = type(kind.__name__, (kind,), body)


class _ClosureVariable(dict[str, Any]):
    """A variable of an enclosing function, with the dictionary interface of global ones."""

    def __init__(self, cell: CellType) -> None:
        super().__init__()
        self._cell = cell

    def __getitem__(self, name: str) -> Any:
        return self._cell.cell_contents

    def __setitem__(self, name: str, value: Any) -> None:
        self._cell.cell_contents = value


class _Variable:
    """A variable that a function uses and does not define."""

    def __init__(self, name: str, scope: dict[str, Any]) -> None:
        self.name, self._scope = name, scope
        self._value = scope[name]
        self._mark = _mark(self._value)
        kept = isinstance(self._value, list | dict | set)
        self._items = copy.copy(self._value) if kept else None

    @property
    def changed(self) -> bool:
        return bool(_mark(self._scope[self.name]) != self._mark)

    def restore(self) -> None:
        if self._items is not None and self.changed:
            self._value.clear()
            fill = self._value.extend if isinstance(self._value, list) else self._value.update
            fill(self._items)
        self._scope[self.name] = self._value


def _variables(tree: nn.Module) -> Iterator[_Variable]:
    seen: set[object] = set()
    todo = [f for module in tree.modules() for f in _functions(module)]
    while todo:
        function = todo.pop()
        for key, name, scope in _scopes(function):
            if key in seen:
                continue
            seen.add(key)
            try:
                value = scope[name]
            except ValueError:  # nothing is in it yet
                continue
            if isinstance(value, FunctionType) and isinstance(scope, _ClosureVariable):
                todo.append(value)
            elif isinstance(value, _CHANGING) or (
                isinstance(scope, _ClosureVariable)
                and not isinstance(value, type | nn.Module | FunctionType)
            ):
                yield _Variable(name, scope)


_CHANGING = (list, dict, set, bool, int, float, str)
"""What a global variable may hold that a forward changes; others are modules or functions."""


def _scopes(function: FunctionType) -> Iterator[tuple[object, str, dict[str, Any]]]:
    """Yield an identity, the name and the scope of each variable that `function` uses."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    for name, cell in cells:
        if name != "__class__":
            yield id(cell), name, _ClosureVariable(cell)
    own = function.__globals__
    for name in function.__code__.co_names:
        if name in own:
            yield (id(own), name), name, own


def _functions(module: nn.Module) -> Iterator[FunctionType]:
    classes = [c for c in type(module).__mro__ if not f"{c.__module__}.".startswith(LIBRARIES)]
    held = [*module.__dict__.values(), *(value for cls in classes for value in vars(cls).values())]
    for value in held:
        function = getattr(value, "__func__", value)
        if isinstance(function, FunctionType):
            yield function


def _generators() -> tuple[Any, Any, Tensor]:
    numpy = sys.modules.get("numpy")
    state = None if numpy is None else numpy.random.get_state()
    return random.getstate(), state, torch.get_rng_state()


def _marks(generators: tuple[Any, Any, Tensor]) -> tuple[Any, ...]:
    python, numpy, torchs = generators
    # As numbers: an array of a tensor asks the fake mode that may be on.
    return python, pickle.dumps(numpy), bytes(torchs.tolist())


def _of_a_library(module: nn.Module) -> bool:
    return f"{type(module).__module__}.".startswith(LIBRARIES)


_EVERY = frozenset(nn.Module().__dict__) | {"forward", "keep"}
"""What every module has, and what reading puts there."""


def _attributes(module: nn.Module) -> dict[str, Any]:
    # What a library's own module holds changes where somebody replaces it.
    mark = id if _of_a_library(module) else _mark
    found = {
        name: mark(value)
        for name, value in module.__dict__.items()
        if name not in _EVERY and not name.startswith("_tensor_constant")
    }
    for table in _TABLES:
        found |= {name: id(value) for name, value in module.__dict__[table].items()}
    return found


def _mark(value: Any) -> Any:
    """Return a value that compares unequal once `value` is replaced or changed in place."""
    if isinstance(value, bool | int | float | str | None):
        return value
    if isinstance(value, Tensor | nn.Module | FunctionType):
        return id(value)
    for state in ("getstate", "get_state"):  # a generator of Python's, or of torch's
        if callable(getattr(value, state, None)):
            return id(value), repr(getattr(value, state)())
    numpys = getattr(value, "bit_generator", None)  # a generator of numpy's
    if numpys is not None:
        return id(value), repr(numpys.state)
    inside = frozen(value)
    # An iterator shows where it is only in its printed form.
    return id(value), repr(value)[:200] if inside is None else inside
