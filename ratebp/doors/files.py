"""Files of the user's, executed as modules, and what is said of those that fail."""

from __future__ import annotations

import ast
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

from ratebp.errors import OptionError

PATHS = "RATEBP_PLUGINS"
"""The environment variable that names files, or folders of them, separated like PATH."""

FAULTS = (Exception, SystemExit)
"""What code of the user's may raise without ending our process."""


def executed(file: Path) -> ModuleType:
    """Execute a file of Python as a module, anew at each call.

    Its folder goes to the end of the import path, where it hides nothing, so that the file can
    import those beside it.

    Raises:
        OptionError: it is not there, fails, or imports a file beside it whose name is taken.
    """
    if not file.is_file():
        raise OptionError(f"there is no such file: {file}. Name Python files, or folders of them.")
    name = f"ratebp_plugin_{file.stem}"
    try:
        open_folder(file.parent, file)
        spec = importlib.util.spec_from_file_location(name, file)
        if spec is None or spec.loader is None:
            raise OptionError(f"{file} is no Python file. Write the path of one.")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses and pickles look their module up
        spec.loader.exec_module(module)
    except OptionError:
        raise
    except FAULTS as error:
        raise OptionError(f"{file.name} cannot be loaded: {told(error, file.parent)}") from error
    return module


def told(error: BaseException, folder: Path) -> str:
    """Return an error in one line, with the last line of the user's code that it went through."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    frames = [f for f in traceback.extract_tb(error.__traceback__) if _within(f.filename, folder)]
    return (
        f"{text} ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else text
    )


def open_folder(folder: Path, file: Path | None = None) -> None:
    """Let a file import those beside it, and nobody else's of the same name.

    Raises:
        OptionError: it, or a file beside it that it imports, imports a name that means another.
    """
    if (place := str(folder.absolute())) not in sys.path:
        sys.path.append(place)
    waiting, seen = [file] if file is not None else [], set[Path]()
    while waiting:
        each = waiting.pop()
        seen.add(each)
        for name in imported(each):
            beside = [folder / f"{name}.py", folder / name / "__init__.py"]
            there = next((path for path in beside if path.is_file()), None)
            if there is not None:
                _refuse_another(name, there, each)
                waiting += [there] if there not in seen else []


def _refuse_another(name: str, there: Path, importer: Path) -> None:
    known = sys.modules.get(name)
    found = getattr(known, "__file__", None) if known is not None else _origin(name)
    if found is not None and Path(found).resolve() != there.resolve():
        raise OptionError(
            f"{importer.name} imports {name!r}, which is {found}, not {there}; rename the latter"
        )


def _origin(name: str) -> str | None:
    spec = importlib.util.find_spec(name)
    return None if spec is None else spec.origin


def imported(file: Path) -> set[str]:
    """Return the top-level names that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_bytes(), file.name)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def _within(name: str, folder: Path) -> bool:
    path = Path(name)
    return path.is_relative_to(folder.absolute()) or path.is_relative_to(folder)


@cache
def plugins() -> tuple[tuple[Path, ModuleType | OptionError], ...]:
    """Return the files that `RATEBP_PLUGINS` names, each executed once, or why it cannot be."""
    return tuple(_plugins())


def _plugins() -> Iterator[tuple[Path, ModuleType | OptionError]]:
    for place in filter(None, os.environ.get(PATHS, "").split(os.pathsep)):
        path = Path(place).expanduser()
        inside = sorted(f for f in path.glob("*.py") if not f.name.startswith("_"))
        for file in inside if path.is_dir() else [path]:
            try:
                yield file, executed(file)
            except OptionError as error:
                yield file, error
