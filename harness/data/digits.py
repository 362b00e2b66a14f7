"""Handwritten digits of 8x8 pixels, small enough for tests of a second.

The test half of "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak, 1998), as
scikit-learn ships it, divided by `scripts/cut_digits.py` into 1,437 training images and 36 test
images a class. See DIGITS_LICENSE beside this file.
"""

from __future__ import annotations

from harness.data.base import Dataset
from harness.data.facts import Facts
from harness.data.packaged import splits

FILE = "digits.npz"


def load(facts: Facts) -> Dataset:
    """Load both splits from the package."""
    train, test = splits(facts, FILE)
    return Dataset(facts, tuple("0123456789"), train, test)
