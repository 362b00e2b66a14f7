"""Random images of any shape, made when asked for: for sweeps that measure cost alone."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.data.base import Dataset, Split
from harness.data.facts import Facts

_TRAIN, _TEST = 0, 1


class RandomSplit(Split):
    """Standard normal images; image `i` depends on the split and on `i` alone, never on batches."""

    def __init__(self, facts: Facts, count: int, which: int) -> None:
        """Hold `count` labels, balanced over the classes; `which` keeps the splits apart."""
        self._shape = facts.shape
        self._which = which
        self.labels = torch.arange(count) % facts.num_classes

    def images(self, index: Tensor) -> Tensor:
        """Draw the images at `index`, `[B, C, H, W]`."""
        out = torch.empty(len(index), *self._shape)
        for row, number in zip(out, index.tolist(), strict=True):
            row.normal_(generator=torch.Generator().manual_seed(2 * number + self._which))
        return out


def load(facts: Facts) -> Dataset:
    """Describe the two splits; no image is made yet."""
    return Dataset(
        facts,
        classes=tuple(map(str, range(facts.num_classes))),
        train=RandomSplit(facts, facts.train, _TRAIN),
        test=RandomSplit(facts, facts.test, _TEST),
    )
