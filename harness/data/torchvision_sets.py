"""Data sets that the user has as files: Fashion-MNIST, CIFAR-10 and CIFAR-100."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.data import fashion_mini
from harness.data.base import Dataset, StoredSplit
from harness.data.facts import Facts
from harness.data.files import locate
from harness.data.idx import read_idx
from harness.data.packaged import stored
from harness.data.torchvision_door import datasets
from harness.errors import DataError

_CLASSES = {"fashion-mnist": "FashionMNIST", "cifar10": "CIFAR10", "cifar100": "CIFAR100"}


def load(facts: Facts, root: str | os.PathLike[str] | None) -> Dataset:
    """Load both splits from the user's files.

    Raises:
        DataError: files are absent or damaged, or torchvision is unusable.
    """
    file_set, folder = locate(facts.name, root)
    if file_set.reader == "idx":
        return _published(facts, folder / file_set.folder)
    reader = getattr(datasets(), _CLASSES[facts.name])
    train, test = (_read(reader, folder, train=part, name=facts.name) for part in (True, False))
    return Dataset(facts, tuple(train.classes), _split(facts, train), _split(facts, test))


def _published(facts: Facts, folder: Path) -> Dataset:
    """Fashion-MNIST from the four gzipped files as they are published."""
    train, test = (
        stored(
            facts,
            read_idx(folder / f"{prefix}-images-idx3-ubyte.gz")[:, None],
            read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz"),
        )
        for prefix in ("train", "t10k")
    )
    return Dataset(facts, fashion_mini.CLASSES, train, test)


def _read(reader: Any, folder: Path, *, train: bool, name: str) -> Any:
    """Let torchvision read one split; it checks CIFAR's checksums before it unpickles."""
    try:
        with warnings.catch_warnings():
            # numpy 2.4.0 to 2.4.4 complain of how CIFAR's old pickles describe their arrays.
            warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
            return reader(folder, train=train, download=False)
    except Exception as error:  # whatever a damaged file provokes in its parser
        raise DataError(
            f"the files of data set {name!r} below {folder} are there but cannot be read: {error}. "
            "They are damaged or incomplete: unpack them afresh, or get them afresh."
        ) from error


def _split(facts: Facts, source: Any) -> StoredSplit:
    """Images of a torchvision data set as `[N, C, H, W]`; CIFAR holds `[N, H, W, C]`."""
    pixels = torch.as_tensor(source.data)
    pixels = pixels.unsqueeze(1) if pixels.dim() == 3 else pixels.permute(0, 3, 1, 2)
    labels: Tensor = torch.as_tensor(source.targets)
    return StoredSplit(facts, pixels, labels)
