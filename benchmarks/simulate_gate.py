"""False alarms and power of the gate's time tier, from recorded processes.

    python benchmarks/prove_gate.py --runs 10 --out FOLDER        record (some minutes a run)
    python benchmarks/simulate_gate.py FOLDER/ratios.csv          simulate

Prints a table and writes it beside the record as `power.csv`.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from harness.gate.simulate import Rates, simulate
from harness.results import stats

SLOWER: Final = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5)
FAMILIES: Final = (1, 3, 6)


def main(arguments: list[str]) -> int:
    """Simulate and print; 1 if false alarms exceed one in a hundred."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("ratios", type=Path)
    parser.add_argument("--jobs", type=int, default=2000, help="simulated jobs a line")
    asked = parser.parse_args(arguments)
    with asked.ratios.open(newline="", encoding="utf-8") as file:
        recorded = differences(csv.DictReader(file))
    rates = [
        simulate(recorded, slower, families=families, jobs=asked.jobs)
        for families in FAMILIES
        for slower in SLOWER
    ]
    with asked.ratios.with_name("power.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(asdict(rates[0])))
        writer.writeheader()
        writer.writerows(asdict(line) for line in rates)
    console = Console(width=100)
    spread = stats.log_spread([math.exp(value) for value in recorded])
    console.print(f"{len(recorded)} recorded pairs of equal code, spread {spread:.1%} a pair")
    console.print(table(rates))
    worst = max(max(line.false, line.found if line.slower == 0 else 0.0) for line in rates)
    console.print(f"false alarms: at most {worst:.2%} of {asked.jobs} jobs a line")
    return 1 if worst > 0.01 else 0


def differences(lines: Iterable[Mapping[str, str]]) -> list[float]:
    """Log ratios, right minus left, of the pairs whose code was equal."""
    pairs: dict[tuple[str, str, str], dict[str, float]] = {}
    unequal = set()
    for line in lines:
        key = line["run"], line["arm"], line["pair"]
        pairs.setdefault(key, {})[line["side"]] = math.log(float(line["ratio"]))
        if float(line["slower"]):
            unequal.add(key)
    return [two["right"] - two["left"] for key, two in pairs.items() if key not in unequal]


def table(rates: Iterable[Rates]) -> Table:
    """For people."""
    shown = Table("families", "slower by", "found", "false alarm", "void", "undecided", "16 pairs")
    for line in rates:
        shares = (line.found, line.false, line.void, line.undecided, line.extended)
        shown.add_row(
            str(line.families), f"{line.slower:.0%}", *(f"{share:.2%}" for share in shares)
        )
    return shown


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
