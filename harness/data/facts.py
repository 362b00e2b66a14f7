"""What is known of every data set before it is loaded; no torch here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from harness.errors import DataError, unknown

SYNTHETIC = "synthetic-CxHxW-K"
"""How names of synthetic data are made, e.g. `synthetic-3x32x32-10`, or `synthetic-700-20`."""

_SYNTHETIC = re.compile(r"synthetic-([1-9]\d*(?:x[1-9]\d*)*)-([1-9]\d*)", re.ASCII)


@dataclass(frozen=True)
class Facts:
    """One data set, as the catalogue and sweeps see it.

    Attributes:
        name: what sweeps and `harness.data.load` call it.
        summary: one line for people.
        source: "package" (ships with the harness), "files" (the user has them), "random", "own"
            (the user's code makes them).
        shape: of one sample: channels, height and width of an image.
        num_classes: number of labels, K.
        train: number of training images.
        test: number of test images.
        mean: per channel, subtracted from pixels in [0, 1].
        std: per channel, divides what is left.
        brightest: the stored value of a white pixel, i.e. 1.0.
    """

    name: str
    summary: str
    source: Literal["package", "files", "random", "own"]
    shape: tuple[int, ...]
    num_classes: int
    train: int
    test: int
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    brightest: int = 255


_FACTS = {
    facts.name: facts
    for facts in (
        Facts(
            "fashion-mini",
            "5,000 + 1,000 images of Fashion-MNIST, grey 28x28, balanced",
            "package",
            (1, 28, 28),
            10,
            5_000,
            1_000,
            (0.2860,),
            (0.3530,),
        ),
        Facts(
            "fashion-mini-color",
            "fashion-mini blended with colour patches, 3x32x32",
            "package",
            (3, 32, 32),
            10,
            5_000,
            1_000,
            (0.4159, 0.4153, 0.4160),
            (0.2108, 0.2105, 0.2101),
        ),
        Facts(
            "digits",
            "1,437 + 360 handwritten digits, grey 8x8",
            "package",
            (1, 8, 8),
            10,
            1_437,
            360,
            (0.305,),
            (0.376,),
            brightest=16,
        ),
        Facts(
            "fashion-mnist",
            "all of Fashion-MNIST, grey 28x28",
            "files",
            (1, 28, 28),
            10,
            60_000,
            10_000,
            (0.2860,),
            (0.3530,),
        ),
        Facts(
            "cifar10",
            "CIFAR-10, colour 32x32",
            "files",
            (3, 32, 32),
            10,
            50_000,
            10_000,
            (0.4914, 0.4822, 0.4465),
            (0.2023, 0.1994, 0.2010),
        ),
        Facts(
            "cifar100",
            "CIFAR-100, colour 32x32, 100 fine labels",
            "files",
            (3, 32, 32),
            100,
            50_000,
            10_000,
            (0.5071, 0.4867, 0.4408),
            (0.2675, 0.2565, 0.2761),
        ),
    )
}


def names() -> tuple[str, ...]:
    """Names of the fixed data sets; `SYNTHETIC` is the pattern of the others."""
    return tuple(_FACTS)


def describe(name: str) -> Facts:
    """The facts of a data set by name.

    Raises:
        DataError: unknown or malformed name; the message lists the legal ones.
    """
    if name in _FACTS:
        return _FACTS[name]
    if not name.startswith("synthetic"):
        raise DataError(unknown("data set", name, [*_FACTS, SYNTHETIC]))
    sizes = _SYNTHETIC.fullmatch(name)
    if sizes is None:
        raise DataError(
            f"malformed name of synthetic data {name!r}; legal: {SYNTHETIC} with whole numbers of "
            "at least 1 for channels, height, width and classes, e.g. 'synthetic-3x32x32-10'; "
            "samples of other sizes likewise, e.g. 'synthetic-700-20'"
        )
    shape, classes = tuple(map(int, sizes[1].split("x"))), int(sizes[2])
    return Facts(
        name,
        f"random {sizes[1]} samples, {classes} labels: for costs, not for learning",
        "random",
        shape,
        classes,
        train=60_000,
        test=10_000,
        mean=(0.0,) * shape[0],
        std=(1.0,) * shape[0],
    )


def synthetic(shape: tuple[int, ...], num_classes: int) -> str:
    """The name of the synthetic data set of a shape."""
    return f"synthetic-{'x'.join(map(str, shape))}-{num_classes}"
