"""Data that ships inside this package: the four arrays of an npz file."""

from __future__ import annotations

from importlib import resources

import numpy as np
import numpy.typing as npt
import torch

from harness.data.base import StoredSplit
from harness.data.facts import Facts

Arrays = dict[str, npt.NDArray[np.uint8]]


def arrays(file: str) -> Arrays:
    """`train_x`, `test_x` (`[N, H, W]`) and `train_y`, `test_y` (`[N]`) of a packaged file."""
    with resources.files("harness.data").joinpath(file).open("rb") as stream, np.load(stream) as z:
        return {key: z[key] for key in ("train_x", "train_y", "test_x", "test_y")}


def splits(facts: Facts, file: str) -> tuple[StoredSplit, StoredSplit]:
    """Training and test split of a packaged file of grey images."""
    data = arrays(file)
    return (
        stored(facts, data["train_x"][:, None], data["train_y"]),
        stored(facts, data["test_x"][:, None], data["test_y"]),
    )


def stored(
    facts: Facts, pixels: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8]
) -> StoredSplit:
    """A split over numpy arrays, `[N, C, H, W]` and `[N]`."""
    return StoredSplit(facts, torch.from_numpy(pixels), torch.from_numpy(labels))
