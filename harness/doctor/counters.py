"""Which counters this machine lacks, and what that leaves unmeasured."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Final

from harness.doctor.finding import Examination

_CLEAR: Final = Path("proc/self/clear_refs")
_OOM: Final = (
    Path("sys/fs/cgroup/memory.events"),
    Path("sys/fs/cgroup/memory/memory.oom_control"),
    Path("proc/vmstat"),
)
_RAPL: Final = Path("sys/class/powercap")


def packages() -> Examination:
    """Whether the packages that trials import are there; without importing them."""
    absent = [name for name in ("torch", "ratebp", "pynvml") if not importlib.util.find_spec(name)]
    if absent:
        found = f"missing: {', '.join(absent)}"
        return Examination("packages", "bad", found, "python -m pip install -e .")
    return Examination("packages", "good", "torch, ratebp and pynvml are installed")


def resident(root: Path = Path("/")) -> Examination:
    """Whether the kernel lets a process reset its own peak of resident memory."""
    if os.access(root / _CLEAR, os.W_OK):
        return Examination("resident peak", "good", "the kernel resets it (clear_refs)")
    found = "the kernel cannot reset it (no clear_refs), so it is polled every millisecond"
    return Examination(
        "resident peak", "fair", found, "trust mem.live_peak rather than cpu.rss_peak"
    )


def killer(root: Path = Path("/")) -> Examination:
    """Whether out-of-memory kills are counted, so that they can be told from crashes."""
    if any(os.access(root / file, os.R_OK) for file in _OOM):
        return Examination("out-of-memory kills", "good", "the kernel counts them")
    found = "not counted here: a killed trial reads as a crash"
    return Examination("out-of-memory kills", "fair", found, "run on Linux with control groups")


def energy(root: Path = Path("/")) -> Examination:
    """Whether the processor's energy counter can be read."""
    counters = sorted((root / _RAPL).glob("*/energy_uj"))
    if any(os.access(counter, os.R_OK) for counter in counters):
        return Examination("energy (CPU)", "good", f"{len(counters)} counters under {root / _RAPL}")
    if counters:
        found = "the counters may not be read: energy trials on the CPU are skipped"
        advice = f"sudo chmod a+r {root / _RAPL}/*/energy_uj"
        return Examination("energy (CPU)", "fair", found, advice)
    found = "no counter (a virtual machine?): energy trials on the CPU are skipped"
    return Examination("energy (CPU)", "fair", found, "measure energy on bare metal or a GPU")
