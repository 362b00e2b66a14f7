"""Finding what is offered under names: builtin, by entry points, in files of `RATEBP_PLUGINS`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, TypeVar

from torch import nn

from ratebp.doors.files import FAULTS, plugins
from ratebp.errors import OptionError


class Named(Protocol):
    """What every registry holds: a name, and the file that it is from."""

    @property
    def name(self) -> str:
        """Under which it is found."""

    @property
    def file(self) -> Path:
        """That holds it."""


E = TypeVar("E", bound=Named)

MODELS = "MODELS"
DATA = "DATA"
"""The names of a plug-in's tuples of networks and of loaders of data sets."""


@dataclass(frozen=True)
class Broken:
    """A plug-in that could not be loaded: where it came from, and why."""

    source: str
    error: str


def discover(
    group: str,
    builtin: Iterable[tuple[str, Callable[[], E]]],
    make: Callable[[str, Any, str], E],
    offered: Callable[[ModuleType], Iterable[tuple[str, Any]]],
) -> tuple[dict[str, E], tuple[Broken, ...]]:
    """Return what was found by name, in the order of finding, and what could not be loaded.

    Args:
        group: of entry points.
        builtin: source and loader of each of ours.
        make: an entry of its name, the thing itself, and its source.
        offered: names and things in a plug-in's module.
    """
    found: dict[str, E] = {}
    failed: list[Broken] = []
    for source, load in _candidates(group, builtin, make, offered):
        try:
            for entry in load():
                if entry.name in found:
                    other = found[entry.name].file
                    raise ValueError(f"the name {entry.name!r} is taken by {other.name}; rename it")
                found[entry.name] = entry
        except OptionError as error:
            failed.append(Broken(source, str(error)))
        except FAULTS as error:
            failed.append(Broken(source, f"{type(error).__name__}: {error}"))
    return found, tuple(failed)


def _candidates(
    group: str,
    builtin: Iterable[tuple[str, Callable[[], E]]],
    make: Callable[[str, Any, str], E],
    offered: Callable[[ModuleType], Iterable[tuple[str, Any]]],
) -> Iterator[tuple[str, Callable[[], list[E]]]]:
    def of_point(point: Any) -> list[E]:
        return [make(point.name, point.load(), "entry point")]

    def of_file(module: ModuleType | OptionError) -> list[E]:
        if isinstance(module, OptionError):
            raise module
        return [make(name, thing, "path") for name, thing in offered(module)]

    def of_ours(load: Callable[[], E]) -> list[E]:
        return [load()]

    for source, load in builtin:
        yield source, partial(of_ours, load)
    for point in entry_points(group=group):
        yield f"entry point {point.name}", partial(of_point, point)
    for file, module in plugins():
        yield str(file), partial(of_file, module)


def listed(module: ModuleType, name: str) -> list[tuple[str, Any]]:
    """Return what a plug-in lists under `name`, each by its own name; nothing if it has no list.

    Raises:
        OptionError: the list is none of classes and functions.
    """
    things = getattr(module, name, ())
    if not isinstance(things, tuple | list) or not all(map(callable, things)):
        raise OptionError(f"{name} is {things!r}. Legal: a tuple of classes and functions.")
    return [(thing.__name__, thing) for thing in things]


def _own_classes(module: ModuleType, base: type = object) -> list[type]:
    """Return the classes of a kind that a module defines itself."""
    found = (value for value in vars(module).values() if inspect.isclass(value))
    return [cls for cls in found if issubclass(cls, base) and cls.__module__ == module.__name__]


def _has_method(module: ModuleType) -> bool:
    return any(getattr(cls, "identities", None) is not None for cls in _own_classes(module))


def networks_of(module: ModuleType) -> list[tuple[str, Any]]:
    """Return the networks that a plug-in offers: those of `MODELS`, else its public classes.

    A file of a method has leaves that are modules, too: there only `MODELS` counts, as it does
    beside `DATA`.
    """
    if MODELS in vars(module) or DATA in vars(module) or _has_method(module):
        return listed(module, MODELS)
    return [(c.__name__, c) for c in _own_classes(module, nn.Module) if c.__name__[0] != "_"]


def data_of(module: ModuleType) -> list[tuple[str, Any]]:
    """Return the loaders of data sets that a plug-in lists in `DATA`."""
    return listed(module, DATA)


def is_of_methods(module: ModuleType) -> bool:
    """Whether a plug-in is to hold a method: it has one, or nothing else to offer."""
    return _has_method(module) or not (networks_of(module) or data_of(module))
