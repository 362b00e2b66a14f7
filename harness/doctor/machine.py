"""What can be seen of a machine without measuring anything on it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psutil

from harness.doctor.finding import Examination, graded
from harness.machine import environment

WATCH_S: Final = 1.0
GIB: Final = 2**30
BUSY: Final = (0.10, 0.50)
"""Cores that others use: from here on fair, from here on bad."""

NAMED: Final = 0.05
"""Cores that a process must use to be named."""

STOLEN: Final = (0.01, 0.05)
"""Share of the time that the host gave to other virtual machines."""

ROOM: Final = (0.5, 2.0)
"""Free disk in GiB: below this bad, below that fair."""

_CPU: Final = Path("sys/devices/system/cpu")
_TURBO: Final = (
    ("intel_pstate/no_turbo", "0"),
    ("cpufreq/boost", "1"),
)
"""Switches under `_CPU`, and the value that lets the clock rise above its base."""


def load(watch_s: float = WATCH_S) -> list[Examination]:
    """Who else computes here, and how much the host takes away, over `watch_s` seconds."""
    before = psutil.cpu_times()
    processes = {p.pid: p for p in psutil.process_iter() if p.pid != os.getpid()}
    for process in processes.values():
        _share(process)
    time.sleep(watch_s)
    shares = {f"{_name(p)} ({pid})": _share(p) for pid, p in processes.items()}
    after = psutil.cpu_times()
    busy = sum(shares.values())
    top = sorted(shares.items(), key=lambda item: -item[1])
    names = ", ".join(f"{name} {share:.0%}" for name, share in top if share >= NAMED)
    found = f"other processes use {busy:.2f} cores" + (f": {names}" if names else "")
    verdict = graded(busy, *BUSY)
    advice = "" if verdict == "good" else "end or move these programs while you measure"
    # Linux alone tells what the host takes.
    stolen = getattr(after, "steal", 0.0) - getattr(before, "steal", 0.0)
    return [Examination("load", verdict, found, advice), _steal(stolen, watch_s)]


def _steal(stolen: float, watch_s: float) -> Examination:
    share = stolen / (watch_s * (psutil.cpu_count() or 1))
    verdict = graded(share, *STOLEN)
    advice = "" if verdict == "good" else "the host is shared; trust ratios, not seconds"
    return Examination("stolen time", verdict, f"the host took {share:.1%} of this machine", advice)


def _share(process: psutil.Process) -> float:
    try:
        return float(process.cpu_percent(None)) / 100
    except psutil.Error:
        return 0.0


def _name(process: psutil.Process) -> str:
    try:
        return str(process.name())
    except psutil.Error:
        return "ended"


def cores() -> Examination:
    """How many cores trials may use."""
    usable, logical = environment.usable_cores(), psutil.cpu_count() or 1
    found = f"{usable} usable of {logical} logical"
    if usable > 1:
        return Examination("cores", "good", found)
    advice = "this program and a trial share one core; give it two"
    return Examination("cores", "fair", found, advice)


def clocks(root: Path = Path("/")) -> Examination:
    """Whether the processor keeps one clock."""
    governor = _read(root / _CPU / "cpu0/cpufreq/scaling_governor")
    turbo = [name for name, on in _TURBO if _read(root / _CPU / name) == on]
    if governor is None and not turbo:
        found = "governor and turbo are not visible (a virtual machine?)"
        return Examination("clocks", "fair", found, "trust ratios, not seconds")
    words = [
        f"governor {governor or 'not visible'}",
        "turbo on" if turbo else "turbo off or hidden",
    ]
    steady = governor in (None, "performance") and not turbo
    advice = "for steady seconds: governor 'performance' (cpupower frequency-set), turbo off"
    return Examination(
        "clocks", "good" if steady else "fair", ", ".join(words), "" if steady else advice
    )


def compiler(read: Callable[[], str | None] = environment.compiler) -> Examination:
    """Whether a CPU's neurons and norms run in C++."""
    found = read()
    if found is not None:
        return Examination("compiler", "good", found)
    named = os.environ.get("CXX", "").strip()
    if named:
        advice = "unset CXX, or name a compiler that runs: torch's operators run a CPU's neurons"
        return Examination("compiler", "fair", f"CXX={named!r} is no C++ compiler here", advice)
    advice = "install g++ or clang: a CPU's neurons and norms run on torch's operators without"
    return Examination("compiler", "fair", "no C++ compiler", advice)


def memory() -> Examination:
    """How much memory trials may fill."""
    seen = psutil.virtual_memory()
    found = f"{seen.available / GIB:.1f} of {seen.total / GIB:.1f} GiB free"
    if seen.available >= 0.5 * seen.total:
        return Examination("memory", "good", found)
    advice = "free some: a cell that does not fit is killed by the kernel, or others are"
    return Examination("memory", "fair", found, advice)


def disk(folder: Path) -> Examination:
    """Whether records can be written where results go."""
    place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not os.access(place, os.W_OK):
        return Examination("disk", "bad", f"{place} cannot be written", "choose another --results")
    free = shutil.disk_usage(place).free / GIB
    verdict = graded(-free, -ROOM[1], -ROOM[0])
    advice = "" if verdict == "good" else "free some space, or choose another --results"
    return Examination("disk", verdict, f"{free:.1f} GiB free at {place}", advice)


def commit(read: Callable[[], tuple[str | None, bool | None]] = environment.commit) -> Examination:
    """Whether figures can be traced to a commit."""
    head, dirty = read()
    if head is None:
        advice = "run from a git checkout, so that every row names its commit"
        return Examination("commit", "fair", "no git checkout", advice)
    if dirty:
        advice = "commit before measuring what you will publish"
        return Examination("commit", "fair", f"{head[:7]} with uncommitted changes", advice)
    return Examination("commit", "good", head[:7])


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return None
