"""Finding methods in this folder and its families' folders, in entry points and in paths."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

from ratebp.doors import PATHS, Broken, discover, is_of_methods
from ratebp.errors import OptionError
from ratebp.method import Identity, Method

GROUP = "ratebp.methods"


@dataclass(frozen=True)
class MethodEntry:
    """One method that was found: its `name`, class, where it came from, and its source file."""

    name: str
    cls: type[Method]
    source: str
    file: Path

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the method's file."""
        return hashlib.sha256(self.file.read_bytes()).hexdigest()


def get(name: str, **options: Any) -> Method:
    """Return the method called `name` with the given options.

    Raises:
        OptionError: for an unknown name, an unknown option or an illegal value.
    """
    found = entries()
    if name not in found:
        raise OptionError.unknown("method", name, found, _where())
    return _made(name, found[name].cls, options)


def _where() -> str:
    """Where methods are listed and found, and what kept a plug-in from being among them."""
    faults = "".join(f" {each.source} could not be loaded: {each.error}." for each in broken())
    return f"See also: ratebp-bench list methods. One of your own: {PATHS}=its file.{faults}"


def _made(name: str, cls: type[Method], options: Mapping[str, Any]) -> Method:
    legal = [f.name for f in fields(cls)]  # type: ignore[arg-type]
    for option in options:
        if option not in legal:
            raise OptionError.unknown(f"option of {name}", option, legal)
    return cls(**options)


def names() -> tuple[str, ...]:
    """Return the names of all methods, sorted."""
    return tuple(entries())


def entries() -> dict[str, MethodEntry]:
    """Return what was found, by name."""
    return _discover()[0]


def broken() -> tuple[Broken, ...]:
    """Return the plug-ins that could not be loaded."""
    return _discover()[1]


@cache
def _discover() -> tuple[dict[str, MethodEntry], tuple[Broken, ...]]:
    ours = ((name, partial(_from_package, name)) for name in _modules(Path(__file__).parent))
    found, failed = discover(GROUP, ours, _entry, _methods_of)
    return dict(sorted(found.items())), failed


def _modules(folder: Path) -> Iterator[str]:
    """Yield the modules of methods in `folder`, and those of its families: "tbptt", "saf.saf_e"."""
    for info in pkgutil.iter_modules([str(folder)]):
        if info.name.startswith("_"):
            continue
        if info.ispkg:
            yield from (f"{info.name}.{method}" for method in _modules(folder / info.name))
        else:
            yield info.name


def _from_package(name: str) -> MethodEntry:
    module = importlib.import_module(f"{__package__}.{name}")
    return _entry(name.rpartition(".")[2], _only_method(module), "builtin")


def _methods_of(module: ModuleType) -> list[tuple[str, type[Method]]]:
    """Return the method of a plug-in's file, by the file's name; none if it offers other things."""
    if not is_of_methods(module):
        return []
    assert module.__file__ is not None
    return [(Path(module.__file__).stem, _only_method(module))]


def _only_method(module: ModuleType) -> type[Method]:
    own = [
        cls
        for cls in vars(module).values()
        if inspect.isclass(cls)
        and issubclass(cls, Method)
        and not inspect.isabstract(cls)
        and cls.__module__ == module.__name__
    ]
    if len(own) != 1:
        raise ValueError(
            f"one file is one method, but this one defines {len(own)} Method classes; networks and "
            "loaders of data sets are listed as MODELS = (...) and DATA = (...)"
        )
    return own[0]


def _entry(name: str, cls: type[Method], source: str) -> MethodEntry:
    for claim in ("info", "identities"):
        if getattr(cls, claim, None) is None:
            raise ValueError(f"class {cls.__name__} has no `{claim}`; see ratebp/method.py")
    if not cls.identities:
        raise ValueError(f"class {cls.__name__} declares no exact identity; at least one is needed")
    for identity in cls.identities:
        _refuse_itself(name, cls, identity)
    return MethodEntry(name, cls, source, Path(inspect.getfile(cls)))


def _refuse_itself(name: str, cls: type[Method], identity: Identity) -> None:
    """Refuse an identity of a method with itself under the same options, defaults filled in."""
    mine = _made(name, cls, identity.options)
    if identity.other == name and mine == _made(name, cls, identity.other_options):
        raise ValueError(
            f"class {cls.__name__}: the identity {str(identity)!r} compares {name} with itself "
            f"under the same options, {mine}, which holds whatever it computes. Name another "
            "method, options that take another path, or an oracle (ratebp.oracles)"
        )
