"""What the cutting scripts share: stratified choice, npz files that repeat byte for byte."""

from __future__ import annotations

import argparse
import io
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]

PACKAGE = Path(__file__).resolve().parents[1] / "harness" / "data"
_TIMESTAMP = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip file can hold
_LEVEL = 9


def stratified(labels: Bytes, per_class: int, seed: int) -> npt.NDArray[np.int64]:
    """Indices of `per_class` random samples of every class, ascending.

    numpy's legacy generator is used because its stream is frozen for good.

    Raises:
        ValueError: a class has fewer samples.
    """
    generator = np.random.RandomState(seed)
    chosen = [
        generator.choice(np.flatnonzero(labels == label), per_class, replace=False)
        for label in np.unique(labels)
    ]
    return np.sort(np.concatenate(chosen))


def npz_bytes(arrays: Mapping[str, Bytes]) -> bytes:
    """A compressed npz file whose bytes depend on the arrays and on zlib alone."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", date_time=_TIMESTAMP)
            info.create_system = 3  # the same on every operating system
            info.external_attr = 0o644 << 16
            archive.writestr(info, member.getvalue(), zipfile.ZIP_DEFLATED, _LEVEL)
    return file.getvalue()


def finish(arrays: Mapping[str, Bytes], out: Path, check: bool) -> int:
    """Write the file, or with `check` compare it with what is there; give the exit status.

    The check is of the arrays: another zlib may pack the same arrays into other bytes.
    """
    packed = npz_bytes(arrays)
    if not check:
        out.write_bytes(packed)
        sys.stdout.write(f"wrote {out.name}: {len(packed):,} bytes\n")
        return 0
    with np.load(out) as kept:
        same = set(kept) == set(arrays) and all(
            np.array_equal(kept[name], array) for name, array in arrays.items()
        )
    if not same:
        sys.stdout.write(f"{out.name} DIFFERS from what this source gives\n")
        return 1
    exact = "byte for byte" if out.read_bytes() == packed else "array for array (other zlib)"
    sys.stdout.write(f"{out.name} repeats {exact}\n")
    return 0


def parser(summary: str | None, file: str) -> argparse.ArgumentParser:
    """The command line of a cutting script, but for its source."""
    made = argparse.ArgumentParser(description=summary)
    made.add_argument("--out", type=Path, default=PACKAGE / file, help="file to write or check")
    made.add_argument("--check", action="store_true", help="compare, write nothing")
    return made
