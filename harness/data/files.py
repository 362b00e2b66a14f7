"""Which files the user must have for a data set, where they are looked for; no torch here."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from harness.errors import DataError

ROOT_VARIABLE = "RATEBP_DATA"


@dataclass(frozen=True)
class FileSet:
    """The files of a data set, as one source distributes them.

    Attributes:
        reader: "torchvision" (unpacked as it does) or "idx" (the files as published).
        folder: below the root.
        files: all that must be in the folder.
    """

    reader: str
    folder: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class Wanted:
    """What to look for, and the advice to give when it is not there."""

    file_sets: tuple[FileSet, ...]
    advice: str


_IDX_FILES = tuple(
    f"{split}-{kind}-ubyte"
    for split in ("train", "t10k")
    for kind in ("images-idx3", "labels-idx1")
)

WANTED = {
    "fashion-mnist": Wanted(
        (
            FileSet("torchvision", "FashionMNIST/raw", _IDX_FILES),
            FileSet("idx", "fashion-mnist", tuple(f"{file}.gz" for file in _IDX_FILES)),
        ),
        "Get its four files from the project page of Fashion-MNIST (zalandoresearch/fashion-mnist "
        "on GitHub), or install the Debian package dataset-fashion-mnist and name "
        "/usr/share/datasets as the folder",
    ),
    "cifar10": Wanted(
        (
            FileSet(
                "torchvision",
                "cifar-10-batches-py",
                (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch", "batches.meta"),
            ),
        ),
        "Get 'CIFAR-10 python version' from Alex Krizhevsky's page on CIFAR at the University of "
        "Toronto and unpack it",
    ),
    "cifar100": Wanted(
        (FileSet("torchvision", "cifar-100-python", ("train", "test", "meta")),),
        "Get 'CIFAR-100 python version' from Alex Krizhevsky's page on CIFAR at the University of "
        "Toronto and unpack it",
    ),
}


def locate(name: str, root: str | os.PathLike[str] | None = None) -> tuple[FileSet, Path]:
    """Find the user's files of a data set without reading them.

    Args:
        name: a data set whose facts say that it needs files.
        root: the folder to look in; without it, the environment variable RATEBP_DATA names it.

    Returns:
        The file set that was found and the root folder it was found below.

    Raises:
        DataError: no folder was named, or files are missing; the message says which and the remedy.
    """
    wanted = WANTED[name]
    named = root if root is not None else os.environ.get(ROOT_VARIABLE)
    if not named:
        raise DataError(
            f"data set {name!r} needs files of your own, and no folder was named. {_remedy(wanted)}"
        )
    folder = Path(named).expanduser()
    missing = [_missing(folder / file_set.folder, file_set) for file_set in wanted.file_sets]
    for file_set, absent in zip(wanted.file_sets, missing, strict=True):
        if not absent:
            return file_set, folder
    looked = "; nor ".join(
        f"{', '.join(absent)} in {folder / file_set.folder}"
        for file_set, absent in zip(wanted.file_sets, missing, strict=True)
    )
    raise DataError(
        f"data set {name!r} needs files that are not there: {looked}. {_remedy(wanted)}"
    )


def _missing(folder: Path, file_set: FileSet) -> list[str]:
    return [file for file in file_set.files if not (folder / file).is_file()]


def _remedy(wanted: Wanted) -> str:
    folders = " or ".join(f"{file_set.folder}/" for file_set in wanted.file_sets)
    return (
        f"{wanted.advice}; then set the environment variable {ROOT_VARIABLE} to the folder that "
        f"holds {folders}. Nothing is downloaded for you; 'fashion-mini' needs no files."
    )
