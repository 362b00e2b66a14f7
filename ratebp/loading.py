"""A model of the user's own: ``file.py:name``."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from ratebp.errors import OptionError


def load(place: str, **offered: Any) -> nn.Module:
    """Return the network at `place`: a class or a function, which is called, or a module.

    The file's folder is on the import path while the file is read, as it is for a script.

    Args:
        place: ``path/to/file.py:name``.
        **offered: arguments that are handed over where the class or function takes them.

    Raises:
        OptionError: when there is no such file or name, or it gives no `nn.Module`.
    """
    file, _, name = place.rpartition(":")
    path = Path(file).expanduser()
    if not file or not name:
        raise OptionError(f"{place!r} names no network in a file. Write path/to/file.py:Name.")
    if not path.is_file():
        raise OptionError(
            f"there is no file {str(path)!r} for the model {place!r} in {Path.cwd()}. Write "
            "path/to/file.py:Name."
        )
    module = _executed(path)
    made = getattr(module, name, None)
    if made is None:
        own = [n for n, v in vars(module).items() if _is_network(v, module.__name__)]
        raise OptionError.unknown(f"model in {path}:", name, own)
    if not isinstance(made, nn.Module):
        made = _called(made, place, offered)
    if not isinstance(made, nn.Module):
        raise OptionError(
            f"{place} gives an object of type {type(made).__name__}, which is no nn.Module. Name a "
            "class of nn.Module, a function that returns one, or one that is built."
        )
    return made


def _executed(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"ratebp_model_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise OptionError(f"{path} is no Python file. Write path/to/file.py:Name.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickles look their module up
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise OptionError(f"{path} cannot be read: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(folder)
    return module


def _called(make: Any, place: str, offered: dict[str, Any]) -> Any:
    if not callable(make):
        return make
    takes = inspect.signature(make).parameters
    try:
        return make(**{name: value for name, value in offered.items() if name in takes})
    except Exception as error:
        raise OptionError(
            f"{place} cannot be built: {type(error).__name__}: {error}. It is called with those of "
            f"{', '.join(offered)} that it takes; give its other arguments defaults."
        ) from error


def _is_network(value: Any, module: str) -> bool:
    own = inspect.isclass(value) and value.__module__ == module
    return isinstance(value, nn.Module) or (own and issubclass(value, nn.Module))
