"""Tries the answers of `ratebp-bench frontier` on the card at hand.

    python -m benchmarks.verify_frontier [--out FILE.csv] [--results DIR] [--method NAME ...]

For each method, at the sizes of `CASES`, the largest batch is taken from the exact counts, and two
real training steps are run in processes of their own:

- `fits`: at that batch, allowance included. It must end well.
- `above`: at the first batch whose tensors alone, without any allowance, exceed what CUDA offers.
  It must run out of memory.

Each becomes a line of the table, with the exact count and what torch's allocator and the driver
saw, so that the allowance can be calibrated from it. Exit codes: 0 as predicted, 1 not, 2 no CUDA.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import typer

from harness.data.facts import describe
from harness.errors import HarnessError
from harness.outcome import Outcome
from harness.planning import allowance, table
from harness.planning.cards import Card
from harness.planning.client import Planner
from harness.planning.frontier import Frontier, Line
from harness.rows import MEASUREMENT_VERSION
from harness.run.executors.local import LocalExecutor
from harness.run.provenance import Provenance, here
from harness.spec import Cell, Choice, TrialSpec, trial_id
from harness.sweep import catalogue

METHODS: Final = ("bptt_m", "bptt_s", "rate_m", "rate_s", "sltt", "ottt_a")
CASES: Final = (("resnet18", "synthetic-3x32x32-10", 8), ("vggsnn", "synthetic-3x32x32-10", 8))
TIMEOUT_S: Final = 900.0
EXPECTED: Final = {"fits": "ok", "above": "oom_cuda"}
MEASURED: Final = ("cuda.reserved_peak", "nvml.process_peak")
COLUMNS: Final = (
    *("card", "usable_bytes", "method", "model", "data", "T", "batch", "claim", "expected"),
    *("status", "as_predicted", "exact_bytes", "need_bytes", "reserved_peak", "process_peak"),
)

_ASK: Final = (
    "import torch; print(torch.cuda.mem_get_info()[1]); print(torch.cuda.get_device_name())"
)


@dataclass(frozen=True)
class Claim:
    """`name` is a key of `EXPECTED`; `exact` the count of the cell in bytes."""

    name: str
    cell: Cell
    exact: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Check every claim; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("results/frontier.csv"))
    parser.add_argument("--results", type=Path, default=Path("results/frontier"))
    parser.add_argument("--method", nargs="+", default=METHODS)
    options = parser.parse_args(arguments)
    provenance = here(catalogue.load())
    if provenance.no_cuda is not None:
        typer.echo(f"nothing to verify here: {provenance.no_cuda}", err=True)
        return 2
    card, beyond = _card(), allowance.load()
    typer.echo(f"{card.model}: CUDA offers {card.usable} bytes; {beyond.words}")
    lines: list[tuple[object, ...]] = []
    for claim in _claims(options.method, card, beyond):
        outcome = _run(claim.cell, provenance, options.results)
        lines.append(_line(claim, outcome, card, beyond))
        name = f"{claim.cell.method.label} {claim.cell.model.label} {claim.name}"
        typer.echo(f"{name}: batch {claim.cell.batch} {outcome.status}")
    table.write_csv(options.out, COLUMNS, lines)
    wrong = [line for line in lines if not line[COLUMNS.index("as_predicted")]]
    typer.echo(f"{len(lines) - len(wrong)} of {len(lines)} as predicted; table: {options.out}")
    return 1 if wrong or not lines else 0


def _card() -> Card:
    """The card that torch sees; asked in a process of its own, whose context does not stay."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", _ASK], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise HarnessError(f"torch cannot use the GPU: {done.stderr.strip().splitlines()[-1]}")
    usable, name = done.stdout.splitlines()[:2]
    return Card("at hand", name, int(usable), int(usable), "torch.cuda.mem_get_info")


def _claims(methods: Sequence[str], card: Card, beyond: allowance.Allowance) -> Iterator[Claim]:
    """Both claims for each case and method; a batch must not exceed what the data set has."""
    bare = allowance.Allowance(0, 0.0, 0, "tensors alone")
    with Planner() as planner:
        for (model, data, T), method in ((case, name) for case in CASES for name in methods):
            cell = Cell(Choice.make(method), Choice.make(model), data, T, 0, device="cuda")
            caps = {"T": T, "batch": describe(data).train - 1}
            for name, allowed in (("fits", beyond), ("above", bare)):
                search = Frontier(planner, allowed, caps=caps)
                ((limit,),) = search.search([Line(replace(cell, device="cpu"), "batch")], [card])
                if limit.reach is None:
                    raise HarnessError(f"{method} {model}: {limit.status}: {limit.error}")
                batch, exact = limit.reach.value, limit.reach.at
                if name == "above":
                    batch, exact = batch + 1, limit.reach.above
                if batch and exact is not None:  # else even 1 is too many, or the cap fits
                    yield Claim(name, replace(cell, batch=batch), exact)


def _run(cell: Cell, provenance: Provenance, results: Path) -> Outcome:
    """One memory trial, as `ratebp-bench run` would run it."""
    code = provenance.sources.code(cell.method.name, "memory")
    name = trial_id(
        cell,
        "memory",
        0,
        code=code,
        environment=provenance.environment,
        measurement=MEASUREMENT_VERSION,
    )
    spec = TrialSpec(
        trial=name,
        sweep="frontier",
        cell=cell,
        probe="memory",
        repeat=0,
        order=0,
        timeout_s=TIMEOUT_S,
        environment=provenance.environment,
        code=code,
        measurement=MEASUREMENT_VERSION,
    )
    return LocalExecutor().run(spec, results / name)


def _line(
    claim: Claim, outcome: Outcome, card: Card, beyond: allowance.Allowance
) -> tuple[object, ...]:
    cell, expected = claim.cell, EXPECTED[claim.name]
    found = {row.metric: int(max(row.values)) for row in outcome.rows if row.metric in MEASURED}
    return (
        *(card.model, card.usable, cell.method.label, cell.model.label, cell.data.label),
        *(cell.T, cell.batch, claim.name, expected, outcome.status, outcome.status == expected),
        *(claim.exact, beyond.need(claim.exact)),
        *(found.get(metric, "") for metric in MEASURED),
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except HarnessError as fault:
        typer.echo(f"error: {fault}", err=True)
        sys.exit(2)
