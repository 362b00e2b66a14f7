"""A loaded data set: two splits of labelled images, and batches of them in seeded order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.data.facts import Facts
from harness.errors import DataError

_MAX_SEED = 2**32 - 1  # what numpy's legacy generator takes


class Split(ABC):
    """Labelled images that are looked up by index.

    Attributes:
        labels: `[N]`, int64, on the CPU.
    """

    labels: Tensor

    def __len__(self) -> int:
        """Number of images, N."""
        return len(self.labels)

    @abstractmethod
    def images(self, index: Tensor) -> Tensor:
        """Normalised images at `index` ([B], int64): `[B, C, H, W]`, float32, freshly made."""


class StoredSplit(Split):
    """Images held as bytes and normalised when they are asked for: a quarter of the memory."""

    def __init__(self, facts: Facts, pixels: Tensor, labels: Tensor) -> None:
        """Hold `pixels`, `[N, C, H, W]` uint8, and their `labels`, `[N]`.

        Raises:
            DataError: sizes or labels that contradict the facts.
        """
        self.pixels = pixels.contiguous()
        self.labels = labels.to(torch.int64)
        self._mean = torch.tensor(facts.mean).view(-1, 1, 1) * facts.brightest
        self._std = torch.tensor(facts.std).view(-1, 1, 1) * facts.brightest
        legal = pixels.dtype == torch.uint8 and pixels.shape[1:] == facts.shape
        known = len(labels) == 0 or (labels.min() >= 0 and labels.max() < facts.num_classes)
        if not legal or len(pixels) != len(labels) or not known:
            raise DataError(
                f"data set {facts.name!r} does not hold what it should: images "
                f"{tuple(pixels.shape)} of {pixels.dtype}, {len(labels)} labels; expected "
                f"[N, {', '.join(map(str, facts.shape))}] of torch.uint8 and N labels below "
                f"{facts.num_classes}. Its files are damaged: get them afresh."
            )

    def images(self, index: Tensor) -> Tensor:
        """`(pixel / brightest - mean) / std` per channel."""
        return self.pixels[index].to(torch.float32).sub_(self._mean).div_(self._std)


@dataclass(frozen=True)
class Dataset:
    """A data set in memory.

    Attributes:
        facts: its name, image shape, number of classes and normalisation.
        classes: names of the classes, in the order of the labels.
        train: the training images.
        test: the test images; no image is in both.
    """

    facts: Facts
    classes: tuple[str, ...]
    train: Split
    test: Split

    def batches(
        self,
        split: str,
        batch: int,
        *,
        seed: int = 0,
        epoch: int = 0,
        drop_last: bool = False,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Go through a split once.

        Training images come in an order drawn from (`seed`, `epoch`), the same on every machine;
        test images come as they are stored.

        Args:
            split: "train" or "test".
            batch: images in a batch, B.
            seed: of the order, 0 to 2^32 - 1.
            epoch: number of the pass, so that each pass has another order.
            drop_last: leave out a last batch of fewer than `batch` images.

        Returns:
            An iterator over `(x, y)`: `[B, C, H, W]` float32 and `[B]` int64, on the CPU.

        Raises:
            DataError: when it is called, for an argument out of range.
        """
        part = self._split(split)
        for place, value, low, high in (
            ("batch", batch, 1, len(part) if drop_last else None),
            ("seed", seed, 0, _MAX_SEED),
            ("epoch", epoch, 0, _MAX_SEED),
        ):
            _check_range(f"{place} for {split!r} of data set {self.facts.name!r}", value, low, high)
        if split == "train":
            order = torch.from_numpy(np.random.RandomState([seed, epoch]).permutation(len(part)))
        else:
            order = torch.arange(len(part))
        return _batches(part, order, batch, drop_last)

    def _split(self, split: str) -> Split:
        if split not in ("train", "test"):
            raise DataError(
                f"unknown split {split!r} of data set {self.facts.name!r}; legal: test, train"
            )
        return self.train if split == "train" else self.test


def _check_range(place: str, value: int, low: int, high: int | None) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise DataError(f"{place} is {value!r}; legal: a whole number, at least {low}")
    if high is not None and value > high:
        raise DataError(f"{place} is {value!r}; legal: a whole number from {low} to {high}")


def _batches(
    split: Split, order: Tensor, batch: int, drop_last: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    for start in range(0, len(order), batch):
        index = order[start : start + batch]
        if len(index) == batch or not drop_last:
            yield split.images(index), split.labels[index]
