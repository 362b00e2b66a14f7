"""What a process needs on a card beyond its tensors: CUDA context, workspaces, fragmentation.

    bytes of the process = exact count * (1 + share) + fixed

`fixed` stands for the context with its kernels, `share` for workspaces inside operators and for
what the caching allocator holds and does not use. Both are calibrated from GPU runs under
`results/published/`; where there are none, a stated default is used and every output says so.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PUBLISHED: Final = Path("results/published")
ENOUGH: Final = 3
"""Fewest runs with different exact counts that say anything about a slope."""

_PROCESS: Final = ("nvml.process_peak", "nvml.device_peak")
_EXACT: Final = ("mem.persistent", "mem.live_peak")


@dataclass(frozen=True)
class Allowance:
    """Bytes and share beyond the exact count; `runs` GPU runs behind them, `basis` in words."""

    fixed: int
    share: float
    runs: int
    basis: str

    def need(self, exact: int) -> int:
        """Bytes that a process with this exact count is expected to take at most."""
        return round(exact * (1 + self.share)) + self.fixed

    def room(self, usable: int) -> int:
        """The largest exact count whose need fits into `usable` bytes; negative if none does."""
        room = int((usable - self.fixed) / (1 + self.share))
        while self.need(room) > usable:
            room -= 1
        while self.need(room + 1) <= usable:
            room += 1
        return room

    @property
    def words(self) -> str:
        """One line for the output."""
        return f"allowance: {self.share:.1%} + {self.fixed / 2**20:.0f} MiB; {self.basis}"


DEFAULT: Final = Allowance(
    fixed=512 * 2**20,
    share=0.1,
    runs=0,
    basis="not calibrated: no GPU run published. Context: above the 274 MiB (pytorch PR 86509), "
    "400 MB (pytorch issue 109888) and 426 MiB (unsloth-zoo PR 1053) reported for lazily loaded "
    "kernels. Workspaces and fragmentation: an assumption",
)


def load(folder: Path = PUBLISHED) -> Allowance:
    """Calibrate from the published runs in `folder`, or return the default."""
    return calibrate([pair for run in sorted(folder.glob("*")) for pair in _pairs(run)])


def calibrate(pairs: Sequence[tuple[int, int]]) -> Allowance:
    """From (exact count, bytes of the process) of GPU runs: least squares, then an upper bound.

    The slope is that of least squares, but at least 0; the fixed part is then the largest that any
    run needs above it, so that no published run lies above the line. With fewer than `ENOUGH`
    different counts it is `DEFAULT`.
    """
    if len({exact for exact, _ in pairs}) < ENOUGH:
        return DEFAULT
    mean_exact = sum(exact for exact, _ in pairs) / len(pairs)
    mean_extra = sum(process - exact for exact, process in pairs) / len(pairs)
    spread = sum((exact - mean_exact) ** 2 for exact, _ in pairs)
    joint = sum((exact - mean_exact) * (whole - exact - mean_extra) for exact, whole in pairs)
    share = max(0.0, joint / spread)
    fixed = max(0, *(whole - round(exact * (1 + share)) for exact, whole in pairs))
    basis = f"calibrated from {len(pairs)} published GPU runs, none of which needed more"
    return Allowance(fixed, share, len(pairs), basis)


def _pairs(run: Path) -> Iterable[tuple[int, int]]:
    """Exact count and bytes of the process of each GPU trial of one published run."""
    measured = _by_trial(run / "measurements.csv")
    for trial in _table(run / "trials.csv"):
        figures = measured.get(trial["trial"], {})
        process = next((figures[name] for name in _PROCESS if name in figures), None)
        on_gpu = trial["device"] == "cuda" and trial["status"] == "ok"
        if on_gpu and process is not None and all(name in figures for name in _EXACT):
            yield int(sum(figures[name] for name in _EXACT)), int(process)


def _by_trial(path: Path) -> dict[str, dict[str, float]]:
    """The figures of phase "step", by trial and metric; the largest if there are several."""
    found: dict[str, dict[str, float]] = {}
    for row in _table(path):
        if row["phase"] == "step":
            figures = found.setdefault(row["trial"], {})
            figures[row["metric"]] = max(figures.get(row["metric"], 0.0), float(row["value"]))
    return found


def _table(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
