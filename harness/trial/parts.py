"""The network and the data that a cell names, wherever they come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensor

from harness import data
from harness.data import own
from harness.data.base import Dataset
from harness.errors import AbsentError, DataError
from harness.spec import Cell, Choice
from harness.trial import seeds
from ratebp import doors, loading
from ratebp.errors import AbsentPackageError, OptionError


def network(cell: Cell) -> doors.Entry:
    """What builds the network of a cell.

    Raises:
        ratebp.OptionError: if there is none, or its file cannot be loaded.
        AbsentError: if it needs a package that is not installed.
    """
    try:
        return loading.network(cell.model.name, _folder(cell))
    except AbsentPackageError as error:
        raise AbsentError(str(error)) from error


def build(entry: doors.Entry, cell: Cell, facts: data.Facts, drawn: torch.dtype) -> nn.Module:
    """Build it in the type `drawn`; what it may be asked for of the data is offered."""
    offered = {"num_classes": facts.num_classes, "in_channels": facts.shape[0]}
    with _default_dtype(drawn):
        return loading.build(entry, cell.model.kwargs(), offered, facts.shape)


def dataset(cell: Cell) -> Dataset:
    """Load the data of a cell.

    Raises:
        DataError: if they are unknown, absent, damaged, or no data set.
    """
    if _builtin(cell.data.name):
        return data.load(cell.data.name)
    return own_dataset(cell.data, _folder(cell))


def facts(cell: Cell) -> data.Facts:
    """What is known of the data of a cell before they are loaded; of the user's own, after."""
    if _builtin(cell.data.name):
        return data.describe(cell.data.name)
    return own_dataset(cell.data, _folder(cell)).facts


def own_dataset(choice: Choice, folder: Path | None) -> Dataset:
    """Run the user's loader. What it draws at random is the same in every process.

    Raises:
        DataError: if it cannot be loaded, fails, or returns no data set.
    """
    try:
        entry = loading.dataset(choice.name, folder)
        seeds.settle(0)
        made = entry.made(choice.kwargs())
    except OptionError as error:
        raise DataError(str(error)) from error
    return own.load(choice.label, made, entry.summary)


def described(kind: str, name: str, folder: Path | None) -> Mapping[str, Any]:
    """What a place offers: summary, options, file.

    Raises:
        ratebp.OptionError: if nothing can be loaded there.
    """
    entry = (loading.network if kind == "model" else loading.dataset)(name, folder)
    return {
        "summary": entry.summary,
        "options": entry.signature.described(),
        "open": entry.signature.open,
        "file": str(entry.file.absolute()),
    }


def fake(model: nn.Module) -> nn.Module:
    """Replace what `model` has of real tensors by fakes; inside the mode of fake tensors.

    For networks that were built before: imported ones, and objects of the user's file.
    """
    seen: dict[int, Any] = {}
    tables = [t for m in model.modules() for t in (m._parameters, m._buffers, vars(m))]
    for table in tables:
        for name, tensor in table.items():
            if not isinstance(tensor, Tensor) or isinstance(tensor, FakeTensor):
                continue
            if id(tensor) not in seen:
                empty = torch.empty(tensor.shape, dtype=tensor.dtype)
                parameter = isinstance(tensor, nn.Parameter)
                made = nn.Parameter(empty, tensor.requires_grad) if parameter else empty
                seen[id(tensor)] = made
            table[name] = seen[id(tensor)]
    return model


def _builtin(name: str) -> bool:
    own_name = doors.is_place(name) or name in loading.datasets()
    return not own_name


def _folder(cell: Cell) -> Path | None:
    return Path(cell.folder) if cell.folder else None


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
