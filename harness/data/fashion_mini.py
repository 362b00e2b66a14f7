"""A balanced subset of Fashion-MNIST that ships with the harness, grey or in colour.

Fashion-MNIST: Xiao, Rasul and Vollgraf, 2017, copyright Zalando SE, MIT licence (see
FASHION_MNIST_LICENSE beside this file). `scripts/cut_fashion_mini.py` chose 500 training and 100
test images of every class, each from its own half of the original.
"""

from __future__ import annotations

from harness.data.base import Dataset
from harness.data.facts import Facts
from harness.data.packaged import arrays, splits, stored
from harness.data.patches import blend

FILE = "fashion_mini.npz"
CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_PATCH_SEEDS = {"train": 1, "test": 2}


def load(facts: Facts) -> Dataset:
    """Load `fashion-mini`, or blend it with colour patches for `fashion-mini-color`."""
    if facts.shape[0] == 1:
        train, test = splits(facts, FILE)
    else:
        data = arrays(FILE)
        train, test = (
            stored(facts, blend(data[f"{split}_x"], seed), data[f"{split}_y"])
            for split, seed in _PATCH_SEEDS.items()
        )
    return Dataset(facts, CLASSES, train, test)
