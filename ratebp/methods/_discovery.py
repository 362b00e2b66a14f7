"""Finding methods in this folder and its families' folders, in entry points and in paths."""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import inspect
import os
import pkgutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache, partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from ratebp.errors import OptionError
from ratebp.method import Identity, Method

GROUP = "ratebp.methods"
PATHS = "RATEBP_PLUGINS"


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


@dataclass(frozen=True)
class BrokenMethod:
    """A plug-in that could not be loaded, and why."""

    source: str
    error: str


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


def broken() -> tuple[BrokenMethod, ...]:
    """Return the plug-ins that could not be loaded."""
    return _discover()[1]


@cache
def _discover() -> tuple[dict[str, MethodEntry], tuple[BrokenMethod, ...]]:
    found: dict[str, MethodEntry] = {}
    failed: list[BrokenMethod] = []
    for source, load in _candidates():
        try:
            entry = load()
            if entry.name in found:
                other = found[entry.name].file
                raise ValueError(f"the name {entry.name!r} is taken by {other.name}; rename it")
            found[entry.name] = entry
        except Exception as error:
            failed.append(BrokenMethod(source, f"{type(error).__name__}: {error}"))
    return dict(sorted(found.items())), tuple(failed)


def _candidates() -> Iterator[tuple[str, Callable[[], MethodEntry]]]:
    for module in _modules(Path(__file__).parent):
        yield module, partial(_from_package, module)
    for point in entry_points(group=GROUP):
        yield f"entry point {point.name}", partial(_from_entry_point, point)
    for place in filter(None, os.environ.get(PATHS, "").split(os.pathsep)):
        for file in _files(Path(place).expanduser()):
            yield str(file), partial(_from_file, file)


def _modules(folder: Path) -> Iterator[str]:
    """Yield the modules of methods in `folder`, and those of its families: "tbptt", "saf.saf_e"."""
    for info in pkgutil.iter_modules([str(folder)]):
        if info.name.startswith("_"):
            continue
        if info.ispkg:
            yield from (f"{info.name}.{method}" for method in _modules(folder / info.name))
        else:
            yield info.name


def _files(place: Path) -> list[Path]:
    if place.is_dir():
        return sorted(f for f in place.glob("*.py") if not f.name.startswith("_"))
    return [place]


def _from_package(name: str) -> MethodEntry:
    module = importlib.import_module(f"{__package__}.{name}")
    return _entry(name.rpartition(".")[2], _only_method(module), "builtin")


def _from_entry_point(point: EntryPoint) -> MethodEntry:
    return _entry(point.name, point.load(), "entry point")


def _from_file(file: Path) -> MethodEntry:
    if not file.is_file():
        raise FileNotFoundError(f"no such file; {PATHS} names Python files or folders of them")
    _open_folder(file)
    spec = importlib.util.spec_from_file_location(f"ratebp_plugin_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return _entry(file.stem, _only_method(module), "path")


def _open_folder(file: Path) -> None:
    """Let a plug-in import the files beside it, and nobody else's of the same name.

    Its folder goes to the end of the path, where it hides nothing.
    """
    folder = str(file.parent.absolute())
    if folder not in sys.path:
        sys.path.append(folder)
    for name in _imported(file):
        candidates = [file.with_name(f"{name}.py"), file.with_name(name) / "__init__.py"]
        there = next((each.resolve() for each in candidates if each.is_file()), None)
        found = importlib.util.find_spec(name) if there else None
        if found is not None and Path(found.origin or "").resolve() != there:
            raise ValueError(
                f"it imports {name!r}, which is {found.origin}, not {there}; rename the latter"
            )


def _imported(file: Path) -> set[str]:
    """Return the top-level names that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


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
        raise ValueError(f"one file is one method, but this one defines {len(own)} Method classes")
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
