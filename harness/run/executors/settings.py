"""Environment variables of a trial process: they decide its figures, so they are part of its id.

glibc gives freed blocks back to the kernel and faults them in again, which doubles the time of a
step and penalises methods that hold much memory; timings therefore keep the heap. A truthful
resident peak wants the opposite.

On a GPU, whatever torch, cuBLAS and the driver would choose by themselves is pinned, so that a new
version's default cannot move a peak. What the user has set wins, and is part of the environment's
fingerprint.
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

GPU: Final = {
    # Segments that grow make the reserved peak depend on the driver's page size.
    "PYTORCH_ALLOC_CONF": "expandable_segments:False",
    # 8 buffers of 4096 KiB: reproducible by cuBLAS's documentation, as large as torch's own choice
    # on Hopper, and the same 32 MiB on every card, where torch's default differs by card.
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    # Kernels are loaded on first use, so that the context holds what the step needs.
    "CUDA_MODULE_LOADING": "LAZY",
    # Indices mean what nvidia-smi shows, which is the only order that NVML knows.
    "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
}
"""What a trial on a GPU is started with, unless the user has set it."""

_OLD_NAMES: Final = {"PYTORCH_ALLOC_CONF": "PYTORCH_CUDA_ALLOC_CONF"}


def child_environment(
    spec: TrialSpec, base: Mapping[str, str] = os.environ, device: str | None = None
) -> dict[str, str]:
    """The variables for one trial: those of the parent, with malloc, threads and GPU set.

    Settings of malloc that the parent happens to have are dropped. `device` is the UUID of the GPU
    that the trial shall see, and no other.
    """
    kept = {key: value for key, value in base.items() if not key.startswith("MALLOC_")}
    kept |= _COMMON | _MALLOC.get(spec.probe, _KEEP_HEAP)
    if spec.cell.device == "cpu":
        return kept
    for name, value in GPU.items():
        if _OLD_NAMES.get(name) not in kept:
            kept.setdefault(name, value)
    return kept | ({"CUDA_VISIBLE_DEVICES": device} if device else {})


def pinned(environment: Mapping[str, str]) -> dict[str, str]:
    """What a trial's variables say about the GPU: a fact of the trial."""
    names = (*GPU, *_OLD_NAMES.values(), "CUDA_VISIBLE_DEVICES")
    return {name: environment[name] for name in names if name in environment}
