"""What a sweep names: a network or a data set, by the name of a registry or by its place.

Places are ``file.py:name`` and, for networks of SpikingJelly, ``spikingjelly:package.module:name``
or ``spikingjelly:file.py:name``: a function or class that builds one, which is then imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from torch import nn

from ratebp import models
from ratebp.doors import Broken, Entry, at, data_of, discover, is_place
from ratebp.errors import AbsentPackageError, OptionError
from ratebp.importers import from_spikingjelly

SPIKINGJELLY = "spikingjelly:"
DATA_GROUP = "ratebp.data"


def network(name: str, folder: Path | None = None) -> Entry:
    """Return the network of a name or a place; paths begin at `folder`, or where we are.

    Raises:
        OptionError: there is none, or its file cannot be loaded.
        AbsentPackageError: SpikingJelly is not installed.
    """
    start = folder or Path.cwd()
    if name.startswith(SPIKINGJELLY):
        return _of_spikingjelly(name, start)
    if is_place(name):
        return at(name, start, "model")
    if name not in models.names():
        raise OptionError.unknown("model", name, models.names(), _where(models.broken()))
    return models.get(name)


def build(
    entry: Entry,
    options: Mapping[str, Any],
    offered: Mapping[str, Any],
    shape: tuple[int, ...] | None = None,
) -> nn.Module:
    """Build a network for one time step.

    Args:
        entry: of `network`.
        options: as the user gives them.
        offered: handed over where it takes them and `options` has none.
        shape: of one sample, which an imported network is probed with.

    Raises:
        OptionError: an option is not legal, or nothing, or no module, is built.
        BindError: an imported network cannot be one of ours.
    """
    made = models.built(entry, options, offered)
    return from_spikingjelly(made, input_shape=shape, show=None) if imports(entry) else made


def imports(entry: Entry) -> bool:
    """Whether building it imports a network, which is proven on tensors that hold values."""
    return entry.name.startswith(SPIKINGJELLY)


def dataset(name: str, folder: Path | None = None) -> Entry:
    """Return the loader of a data set of the user's, by a name or a place.

    Raises:
        OptionError: there is none, or its file cannot be loaded.
    """
    if is_place(name):
        return at(name, folder or Path.cwd(), "data set")
    if name not in datasets():
        raise OptionError.unknown("data set", name, datasets(), _where(broken_datasets()))
    return datasets()[name]


def datasets() -> dict[str, Entry]:
    """Return the data sets of entry points and plug-ins, by name."""
    return _discovered()[0]


def broken_datasets() -> tuple[Broken, ...]:
    """Return the plug-ins that could not be loaded."""
    return _discovered()[1]


@cache
def _discovered() -> tuple[dict[str, Entry], tuple[Broken, ...]]:
    return discover(DATA_GROUP, (), _loader, data_of)


def _loader(name: str, made: Any, source: str) -> Entry:
    return Entry.found(name, made, source, "data set")


def _where(broken: tuple[Broken, ...]) -> str:
    faults = "".join(f" {each.source} could not be loaded: {each.error}." for each in broken)
    return f"One of your own: write path/to/file.py:name.{faults}"


def _of_spikingjelly(name: str, folder: Path) -> Entry:
    place = name.removeprefix(SPIKINGJELLY)
    try:
        entry = at(place, folder, "model")
    except OptionError as error:
        _refuse_absent(error.__cause__)
        raise
    return Entry(name, entry.builder, "path", entry.file)


def _refuse_absent(error: BaseException | None) -> None:
    package = SPIKINGJELLY.removesuffix(":")
    if isinstance(error, ModuleNotFoundError) and (error.name or "").startswith(package):
        raise AbsentPackageError(
            f"the package {package} is not installed here: python -m pip install {package}"
        ) from error
