"""Whole runs of the time tier on this machine: how often it cries wolf, and what it catches.

    python benchmarks/prove_gate.py --runs 10                     identical code: no alarm
    python benchmarks/prove_gate.py --runs 10 --slower 0.2        one method 20 % slower: found

Each run is the gate as users get it (worktrees, placebo, eight pairs and, if undecided, eight
more) with one family of one cell, the test plug-in `tests/plugins/slowed.py`. A line a run is
added to the folder's `runs.csv` (verdict, shift, bounds, margin, load of the machine, seconds), a
line a process to `ratios.csv`, from which `benchmarks/simulate_gate.py` simulates what nobody has
time to run.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from harness.console.progress import PlainProgress
from harness.gate.time import PLACEBO, TimeRequest, compare
from harness.gate.worktrees import Versions, checkouts
from harness.outcome import Outcome
from harness.spec import TrialSpec

PLUG_IN: Final = Path(__file__).parents[1] / "tests" / "plugins" / "slowed.py"
SWITCH: Final = "RATEBP_TEST_SLOWED"
SWEEP: Final = """
timeout_s = 120
[[grid]]
probes = ["time"]
method = "slowed"
model = { name = "tiny_resnet", width = 0.5 }
data = "digits"
T = 4
batch = 32
device = "cpu"
"""


class Quiet(PlainProgress):
    """Tells of trials that did not end well, and nothing else."""

    def __init__(self) -> None:
        """Write to standard error."""
        super().__init__(Console(stderr=True))

    def planned(self, *_: object) -> None:
        """Say nothing."""

    def finished(self, spec: TrialSpec, outcome: Outcome) -> None:
        """See the class."""
        if outcome.status != "ok":
            super().finished(spec, outcome)


def main(arguments: list[str]) -> int:
    """Run the proof; 1 if a run said the wrong thing."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--slower", type=float, default=0.0, help="0.2 is 20 %%")
    parser.add_argument("--out", type=Path, default=Path("results/gate-proof"))
    asked = parser.parse_args(arguments)
    os.environ["RATEBP_PLUGINS"] = str(PLUG_IN)
    wanted = "SLOWER" if asked.slower else "not SLOWER"
    said: Counter[str] = Counter()
    console = Console()
    with checkouts("HEAD", "HEAD") as sides, tempfile.TemporaryDirectory() as folder:
        sweep = Path(folder) / "proof.toml"
        sweep.write_text(SWEEP, encoding="utf-8")
        slow = replace(sides.head, settings=((SWITCH, str(asked.slower)),))
        for number in range(asked.runs):
            line, ratios = one(replace(sides, head=slow), str(sweep), asked.slower)
            said[line["verdict"]] += 1
            append(asked.out / "runs.csv", [line])
            append(asked.out / "ratios.csv", ratios)
            console.print(f"run {number + 1} of {asked.runs}: {line}", markup=False)
    right = said["SLOWER"] if asked.slower else asked.runs - said["SLOWER"]
    console.print(f"{right} of {asked.runs} runs said {wanted}: {dict(said)}")
    return 0 if right == asked.runs else 1


def one(sides: Versions, sweep: str, slower: float) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """One run of the tier: its line, and a line for each process."""
    started, clock, load = datetime.now(UTC), time.monotonic(), os.getloadavg()[0]
    request = TimeRequest("HEAD", "HEAD", everything=True, families=("exact",), sweep=sweep)
    report, values = compare(sides, request, Quiet())
    family = report.changes[0]
    run = started.isoformat(timespec="seconds")
    line = {
        "run": run,
        "slower": slower,
        "verdict": str(family.verdict),
        "ratio": f"{family.ratio:.4f}",
        "certainty": family.certainty,
        "margin": next(note for note in report.notes if note.startswith("margin")),
        "load": f"{load:.1f} to {os.getloadavg()[0]:.1f}",
        "processes": len(values),
        "seconds": round(time.monotonic() - clock),
        "commit": sides.base.commit,
    }
    return line, [
        {
            "run": run,
            "order": value.order,
            "arm": value.arm,
            "side": value.side,
            "pair": value.pair,
            "slower": slower if value.side == "right" and value.arm != PLACEBO else 0.0,
            "ratio": f"{value.ratio:.6f}",
        }
        for value in values
    ]


def append(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    """Add lines to a table, with a head if it is new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        if new:
            writer.writeheader()
        writer.writerows(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
