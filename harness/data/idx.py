"""Reader of the IDX format, in which MNIST and Fashion-MNIST are published; no torch here."""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.errors import DataError

_UNSIGNED_BYTES = 8  # the only element type that image and label files use


def read_idx(path: str | os.PathLike[str]) -> npt.NDArray[np.uint8]:
    """Read one IDX file of unsigned bytes, gzipped if its name ends in `.gz`.

    The header is two zero bytes, the element type, the number of axes, and the length of each axis
    as a big-endian 32-bit integer (LeCun, "The MNIST database of handwritten digits").

    Raises:
        DataError: the file cannot be read or is no such file.
    """
    path = Path(path)
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        zero, kind, axes = struct.unpack_from(">HBB", raw)
        shape = struct.unpack_from(f">{axes}I", raw, 4)
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise DataError(f"cannot read {path} as an IDX file: {error}. Get it afresh.") from error
    start = 4 + 4 * axes
    if (zero, kind) != (0, _UNSIGNED_BYTES) or len(raw) - start != math.prod(shape):
        raise DataError(
            f"{path} is damaged or no IDX file of bytes: header type {kind}, shape {shape}, "
            f"{len(raw) - start} bytes of data. Get it afresh."
        )
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape).copy()  # writable
