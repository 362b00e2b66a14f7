"""Data sets of the user's own: what a loader may return, checked and held in memory.

A loader returns two splits, train and test. Each is a pair of samples `[N, ...]` and labels `[N]`
(tensors or arrays), or a data set of torch that is looked up by index.
"""

from __future__ import annotations

from collections.abc import Sized
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import IterableDataset

from harness.data.base import Dataset, Split
from harness.data.facts import Facts
from harness.errors import DataError

RETURN: Final = (
    "A loader returns (train, test), each (samples, labels) or a torch Dataset of such pairs."
)

_WHOLE: Final = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


class OwnSplit(Split):
    """Samples as the user made them, `[N, ...]` in float32, and their labels."""

    def __init__(self, samples: Tensor, labels: Tensor) -> None:
        """Hold them."""
        self._samples = samples.to(torch.float32)
        self.labels = labels.to(torch.int64)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return tuple(self._samples.shape[1:])

    def images(self, index: Tensor) -> Tensor:
        """The samples at `index`, `[B, ...]`."""
        return self._samples[index]


def load(name: str, made: object, summary: str = "") -> Dataset:
    """Check what a loader has returned.

    Classes are as many as the largest label of both splits says.

    Raises:
        DataError: it is no two splits, or they are of different shapes, empty, or not numbers.
    """
    if not isinstance(made, tuple | list) or len(made) != 2:
        raise DataError(f"data set {name!r} gives {_kind(made)}. {RETURN}")
    train, test = _split(f"{name!r} (train)", made[0]), _split(f"{name!r} (test)", made[1])
    if train.shape != test.shape:
        raise DataError(
            f"data set {name!r}: samples are {list(train.shape)} for training and "
            f"{list(test.shape)} for the test; give both one shape"
        )
    classes = int(max(train.labels.max(), test.labels.max())) + 1
    facts = Facts(name, summary, "own", train.shape, classes, len(train), len(test))
    return Dataset(facts, tuple(map(str, range(classes))), train, test)


def _split(place: str, part: Any) -> OwnSplit:
    if isinstance(part, TorchDataset):
        part = _looked_up(place, part)
    if not isinstance(part, tuple | list) or len(part) != 2:
        raise DataError(f"data set {place} is {_kind(part)}. {RETURN}")
    samples, labels = (_tensor(place, each) for each in part)
    if not samples.is_floating_point() or samples.dim() < 2:
        raise DataError(
            f"data set {place}: samples are {list(samples.shape)} of {samples.dtype}; legal: "
            "[N, ...] of a floating-point type, normalised as the network wants them"
        )
    whole = labels.dtype in _WHOLE
    if not whole or labels.shape != samples.shape[:1] or len(labels) == 0 or labels.min() < 0:
        raise DataError(
            f"data set {place}: labels are {list(labels.shape)} of {labels.dtype} for "
            f"{len(samples)} samples; legal: [N] whole numbers from 0, at least one"
        )
    if not torch.isfinite(samples).all():
        raise DataError(f"data set {place}: some samples are not finite; mend its loader")
    return OwnSplit(samples, labels)


def _looked_up(place: str, part: TorchDataset[Any]) -> tuple[Tensor, Tensor]:
    if isinstance(part, IterableDataset) or not isinstance(part, Sized):
        raise DataError(f"data set {place} has no length, so no seed gives it an order. {RETURN}")
    pairs = [part[index] for index in range(len(part))]
    if not pairs or not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in pairs):
        raise DataError(f"data set {place} does not hold pairs of sample and label. {RETURN}")
    try:
        samples = torch.stack([torch.as_tensor(sample) for sample, _ in pairs])
        return samples, torch.tensor([int(label) for _, label in pairs])
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"data set {place}: {error}. {RETURN}") from error


def _tensor(place: str, values: Any) -> Tensor:
    try:
        return torch.as_tensor(np.asarray(values) if not isinstance(values, Tensor) else values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"data set {place}: {_kind(values)} is no array of numbers") from error


def _kind(made: object) -> str:
    size = f" of {len(made)}" if isinstance(made, tuple | list) else ""
    return f"an object of type {type(made).__name__}{size}"
