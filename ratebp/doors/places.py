"""What a sweep names by its place: ``file.py:name`` or ``package.module:name``."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from ratebp.doors.entry import Entry
from ratebp.doors.files import FAULTS, executed, open_folder, told
from ratebp.errors import OptionError

WRITE = "Write path/to/file.py:name."


def is_place(name: str) -> bool:
    """Whether a name is that of a place; names of registries have no colon."""
    return ":" in name or name.endswith(".py")


def file_of(place: str, folder: Path) -> Path:
    """Return the file of a place, whose path begins at `folder`.

    Raises:
        OptionError: the place names no file, or nothing in it.
    """
    file, _, name = place.rpartition(":")
    if not file or not name:
        raise OptionError(f"{place!r} names nothing in a file. {WRITE}")
    path = folder / Path(file).expanduser()
    if not path.is_file():
        raise OptionError(f"there is no file {file!r} in {folder.absolute()}. {WRITE}")
    return path


def at(place: str, folder: Path, kind: str) -> Entry:
    """Return what is at a place; its file is executed.

    Args:
        place: ``path/to/file.py:name``, or ``package.module:name`` of what can be imported.
        folder: where the path begins, and where modules are looked for last.
        kind: "model" or "data set", for messages.

    Raises:
        OptionError: there is no such file or name, or the file fails.
    """
    file, _, name = place.rpartition(":")
    module = _imported(file, folder) if _is_module(file) else executed(file_of(place, folder))
    found = getattr(module, name, None)
    if found is None:
        own = [n for n, value in vars(module).items() if _is_own(value, module.__name__)]
        raise OptionError.unknown(f"{kind} in {Path(file).name}:", name, own)
    if not callable(found):
        raise OptionError(
            f"{place} is of type {type(found).__name__}, which is no {kind}. Name a class or a "
            "function that returns one."
        )
    builder = _itself(found) if isinstance(found, nn.Module) else found
    return Entry(place, builder, "path", Path(str(module.__file__)), kind)


def _is_module(file: str) -> bool:
    """Is it written as a module, `package.module`, and no file?"""
    return not file.endswith(".py") and all(part.isidentifier() for part in file.split("."))


def _imported(name: str, folder: Path) -> ModuleType:
    """Return a module that is installed, or lies in `folder`."""
    try:
        open_folder(folder)
        return importlib.import_module(name)
    except FAULTS as error:
        raise OptionError(f"{name} cannot be imported: {told(error, folder)}") from error


def _itself(module: nn.Module) -> Any:
    def built() -> nn.Module:
        return module

    built.__doc__ = type(module).__doc__
    return built


def _is_own(value: Any, module: str) -> bool:
    public = not getattr(value, "__name__", "_").startswith("_")
    return callable(value) and public and getattr(value, "__module__", None) == module
