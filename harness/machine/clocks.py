"""What a CPU was doing around and during a measurement: clock, load, neighbours, heat.

Facts, never figures: they say how far the seconds beside them can be trusted. What this machine
does not tell (a container without sensors, another operating system) is None. Never imports torch.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

THROTTLED: Final = 0.75
"""A clock that fell below this share of what it was has been throttled."""

_ROOT: Final = Path("/")
_SENSORS: Final = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "acpitz")
_IDLE: Final = (3, 4)
_STEAL: Final = 7
_GUEST: Final = 8


@dataclass(frozen=True)
class ClockReading:
    """The CPU at one moment.

    Attributes:
        wall, own: seconds since some start, and CPU seconds of this process.
        mhz: highest clock of the CPUs that this process may use: that of the busy one.
        load: runnable tasks of the machine, averaged over the last minute.
        celsius: hottest sensor of the CPU.
        ticks: clock ticks of all CPUs since boot: busy with anything, stolen by the hypervisor,
            and all.
    """

    wall: float
    own: float
    mhz: float | None = None
    load: float | None = None
    celsius: float | None = None
    ticks: tuple[int, int, int] | None = None


def look(root: Path = _ROOT) -> ClockReading:
    """Read the CPU's state now; `root` is where `/proc` and `/sys` are."""
    return ClockReading(
        wall=time.perf_counter(),
        own=time.process_time(),
        mhz=_mhz(root),
        load=_load(root),
        celsius=_celsius(root),
        ticks=_ticks(root),
    )


def between(before: ClockReading, after: ClockReading) -> dict[str, Any]:
    """Facts about the stretch between two looks.

    Returns:
        `before` and `after`: `mhz`, `load`, `celsius`. `own_share`: CPU seconds of this process per
        second; well below its number of threads, somebody else had the core. `others`: cores that
        all other processes kept busy, on average. `steal`: share of the machine's time that its
        hypervisor gave to others. `throttled`: whether the clock fell by more than a quarter.
    """
    wall = max(after.wall - before.wall, 1e-9)
    own = after.own - before.own
    return {
        "before": _shown(before),
        "after": _shown(after),
        "own_share": round(own / wall, 3),
        **_neighbours(before, after, own),
        "throttled": None
        if before.mhz is None or after.mhz is None
        else after.mhz < THROTTLED * before.mhz,
    }


def _shown(snapshot: ClockReading) -> Mapping[str, Any]:
    plain = asdict(snapshot)
    return {name: plain[name] for name in ("mhz", "load", "celsius")}


def _neighbours(before: ClockReading, after: ClockReading, own: float) -> dict[str, float | None]:
    if before.ticks is None or after.ticks is None:
        return {"others": None, "steal": None}
    busy, stolen, total = (b - a for a, b in zip(before.ticks, after.ticks, strict=True))
    if total <= 0:  # too short for a tick
        return {"others": None, "steal": None}
    seconds = busy / os.sysconf("SC_CLK_TCK")
    wall = after.wall - before.wall
    return {
        "others": round(max(0.0, seconds - own) / wall, 3),
        "steal": round(stolen / total, 4),
    }


def _mhz(root: Path) -> float | None:
    """Clock of the fastest CPU that we may run on: cpufreq's, else what /proc/cpuinfo says."""
    folder = root / "sys/devices/system/cpu"
    files = (folder / f"cpu{cpu}/cpufreq/scaling_cur_freq" for cpu in _allowed())
    khz = [int(text) for file in files if (text := _read(file)).isdigit()]
    if khz:
        return max(khz) / 1e3
    info = re.findall(r"^cpu MHz\s*:\s*([\d.]+)", _read(root / "proc/cpuinfo"), re.MULTILINE)
    return max(map(float, info), default=None)


def _allowed() -> set[int]:
    try:
        return os.sched_getaffinity(0)
    except AttributeError:  # only Linux has it
        return set()


def _load(root: Path) -> float | None:
    words = _read(root / "proc/loadavg").split()
    return float(words[0]) if words else None


def _celsius(root: Path) -> float | None:
    """Hottest reading of the drivers that watch CPUs."""
    watched = [
        sensor
        for sensor in (root / "sys/class/hwmon").glob("hwmon*")
        if _read(sensor / "name") in _SENSORS
    ]
    texts = [_read(file) for sensor in watched for file in sensor.glob("temp*_input")]
    return max((int(text) / 1e3 for text in texts if text.lstrip("-").isdigit()), default=None)


def _ticks(root: Path) -> tuple[int, int, int] | None:
    """First line of /proc/stat; time of guests is within the time of users."""
    words = _read(root / "proc/stat").partition("\n")[0].split()[1:]
    if len(words) <= _STEAL:
        return None
    ticks = [int(word) for word in words[:_GUEST]]
    idle = sum(ticks[i] for i in _IDLE)
    stolen, total = ticks[_STEAL], sum(ticks)
    return total - idle - stolen, stolen, total


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
