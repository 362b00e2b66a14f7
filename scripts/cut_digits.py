"""Cut harness/data/digits.npz out of scikit-learn's digits: 36 test images a class, the rest train.

The source is the file sklearn/datasets/data/digits.csv.gz of a scikit-learn installation or wheel.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from cutting import Bytes, finish, parser, stratified

TEST_PER_CLASS = 36
_SIDE = 8
_SEED = 0


def cut(file: Path) -> dict[str, Bytes]:
    """The arrays of both splits: `train_x`, `train_y`, `test_x`, `test_y`.

    A row of the source is 64 pixels, 0 to 16, and the digit.
    """
    rows = np.loadtxt(file, delimiter=",").astype(np.uint8)
    images, labels = rows[:, :-1].reshape(-1, _SIDE, _SIDE), rows[:, -1]
    test = np.zeros(len(rows), dtype=bool)
    test[stratified(labels, TEST_PER_CLASS, _SEED)] = True
    return {
        "train_x": images[~test],
        "train_y": labels[~test],
        "test_x": images[test],
        "test_y": labels[test],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    command = parser(__doc__, "digits.npz")
    command.add_argument("file", type=Path, help="digits.csv.gz of scikit-learn")
    options = command.parse_args(arguments)
    return finish(cut(options.file), options.out, options.check)


if __name__ == "__main__":
    sys.exit(main())
