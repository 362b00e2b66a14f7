"""Cut harness/data/fashion_mini.npz out of Fashion-MNIST: 500 + 100 random images a class.

The source is a folder with the four published files (train-images-idx3-ubyte.gz and so on), for
example that of the Debian package dataset-fashion-mnist.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from cutting import Bytes, finish, parser, stratified

from harness.data.idx import read_idx

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
PER_CLASS = {"train": 500, "test": 100}
_PREFIX = {"train": "train", "test": "t10k"}
_SEED = 0


def cut(folder: Path) -> dict[str, Bytes]:
    """The arrays of the subset: `train_x`, `train_y`, `test_x`, `test_y`."""
    arrays: dict[str, Bytes] = {}
    for split, per_class in PER_CLASS.items():
        images = read_idx(folder / f"{_PREFIX[split]}-images-idx3-ubyte.gz")
        labels = read_idx(folder / f"{_PREFIX[split]}-labels-idx1-ubyte.gz")
        index = stratified(labels, per_class, _SEED)
        arrays[f"{split}_x"], arrays[f"{split}_y"] = images[index], labels[index]
    return arrays


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    command = parser(__doc__, "fashion_mini.npz")
    command.add_argument("folder", type=Path, nargs="?", default=DEBIAN)
    options = command.parse_args(arguments)
    return finish(cut(options.folder), options.out, options.check)


if __name__ == "__main__":
    sys.exit(main())
