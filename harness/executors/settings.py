"""Environment variables of a trial process: they decide its figures, so they are part of its id.

glibc gives freed blocks back to the kernel and faults them in again, which doubles the time of a
step and penalises methods that hold much memory; timings therefore keep the heap. A truthful
resident peak wants the opposite.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from harness.spec import TrialSpec

_KEEP_HEAP: Final = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "-1",
    "MALLOC_TOP_PAD_": "268435456",
}
_GIVE_BACK: Final = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
_COMMON: Final = {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"}
_MALLOC: Final = {"memory": _GIVE_BACK}


def child_environment(spec: TrialSpec, base: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables for one trial: those of the parent, with malloc and threads set.

    Settings of malloc that the parent happens to have are dropped.
    """
    kept = {key: value for key, value in base.items() if not key.startswith("MALLOC_")}
    return kept | _COMMON | _MALLOC.get(spec.probe, _KEEP_HEAP)
