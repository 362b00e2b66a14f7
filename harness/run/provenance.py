"""This machine and this code, as far as trial ids depend on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.machine import environment, gpu
from harness.run.sources import Sources
from harness.sweep.catalogue import Catalogue


@dataclass(frozen=True)
class Provenance:
    """Where and with what a run measures.

    Attributes:
        environment, fingerprint: the machine and its software, and the hash of that.
        auto_device, no_cuda: what `device = "auto"` stands for, and why "cuda" cannot be had (or
            None).
        sources: the code that decides figures, by method and probe.
        commit, dirty: the checkout, for the record only: an edited README must not void results.
    """

    environment: str
    fingerprint: Mapping[str, Any]
    auto_device: str
    no_cuda: str | None
    sources: Sources
    commit: str | None
    dirty: bool | None


def here(offered: Catalogue) -> Provenance:
    """Look at this machine and this checkout."""
    gpus = gpu.inventory()
    fingerprint = environment.fingerprint(asdict(gpus))
    no_cuda = None
    if environment.torch_build() in (None, "cpu"):
        no_cuda = "the installed torch is a build for CPUs"
    elif not gpu.present(gpus):
        no_cuda = f"no GPU is visible ({gpus.absent or 'hidden by CUDA_VISIBLE_DEVICES'})"
    commit, dirty = environment.commit()
    return Provenance(
        environment=environment.fingerprint_hash(fingerprint),
        fingerprint=fingerprint,
        auto_device="cpu" if no_cuda else "cuda",
        no_cuda=no_cuda,
        sources=Sources({m.name: Path(m.file) for m in offered.methods.values()}, offered.path),
        commit=commit,
        dirty=dirty,
    )
