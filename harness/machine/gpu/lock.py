"""One trial at a time on a device, also between runs: a lock file by machine and device."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.machine.gpu.nvml import Absent


@contextlib.contextmanager
def exclusive(name: str, wait: Callable[[], object]) -> Iterator[Absent | None]:
    """Hold the lock of the device `name`; whoever dies lets go of it.

    Args:
        name: the device's UUID.
        wait: called again and again while another process holds the lock; sleeps, and may raise.

    Yields:
        None, or why there is no lock, in which case nothing keeps others away.
    """
    path = Path(tempfile.gettempdir()) / f"ratebp-bench-{name}.lock"
    try:
        handle = _open(path)
    except OSError as error:
        yield Absent(f"cannot open {path}: {error.strerror}")
        return
    try:
        while not _locked(handle):
            wait()
        yield None
    finally:
        os.close(handle)


def _open(path: Path) -> int:
    """Open for reading alone: the file may be another user's, which a lock does not mind."""
    flags = os.O_RDONLY | os.O_NOFOLLOW
    with contextlib.suppress(FileNotFoundError):
        return os.open(path, flags)
    with contextlib.suppress(FileExistsError):
        return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o444)
    return os.open(path, flags)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
