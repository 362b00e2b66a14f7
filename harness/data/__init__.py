"""Labelled images by name, normalised and in seeded order; importing this package is light.

`names` and `describe` know every data set without torch, for the parent process. `load` imports
torch and gives a `harness.data.base.Dataset`. Images come one to a sample, `[B, C, H, W]`; the
time axis is the caller's (`ratebp.direct`). Nothing here ever downloads.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from harness.data.facts import SYNTHETIC, Facts, describe, names

if TYPE_CHECKING:
    from harness.data.base import Dataset

__all__ = ["SYNTHETIC", "Facts", "describe", "load", "names"]


def load(name: str, *, root: str | os.PathLike[str] | None = None) -> Dataset:
    """Load a data set.

    Args:
        name: one of `names()`, or `synthetic-CxHxW-K` with numbers for the letters.
        root: folder of the user's own files, for the sets that need files; without it the
            environment variable RATEBP_DATA names the folder.

    Raises:
        DataError: unknown name, or files that are absent or damaged.
    """
    from harness.data import digits, fashion_mini, synthetic, torchvision_sets

    facts = describe(name)
    if facts.source == "files":
        return torchvision_sets.load(facts, root)
    if facts.source == "random":
        return synthetic.load(facts)
    return digits.load(facts) if name == "digits" else fashion_mini.load(facts)
