"""The time tier: is head slower than base, on a noisy machine, by this job alone.

Both sides run here and now, in turn, each process measuring its code against the frozen reference.
A placebo arm compares base with base: if that looks different, the job is void, and twice what it
shows is the least change that counts. Families that stay undecided after `PAIRS` pairs get as many
again, once. Only SLOWER fails.

Each look may be wrong with probability 2.5 % about families whose true change equals the margin;
where nothing has changed, the margin makes that far rarer (see `benchmarks/simulate_gate.py`).
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Final

from harness.gate import statistics
from harness.gate.claims import choose, without
from harness.gate.measuring import METRIC, Arm, Job, Value
from harness.gate.statistics import Shift
from harness.gate.verdict import Change, Exit, GateReport, Span, Verdict
from harness.gate.worktrees import Versions, checkouts
from harness.run.executors import Executor
from harness.run.executors.local import LocalExecutor
from harness.run.provenance import here
from harness.run.scheduler import RunListener
from harness.spec import Cell
from harness.sweep import catalogue, expand, file
from harness.sweep.catalogue import Catalogue

PAIRS: Final = 8
"""Of every look; the smallest p of eight pairs still passes Holm's correction over six families."""

PLACEBO: Final = "placebo"
SWEEP: Final = "time_gate"
_ACCEPT: Final = (
    "to accept what is SLOWER, merge it: nothing is recorded for times, and the next base has it"
)
_CATALOGUE: Final = "ratebp.catalogue"
_VERSIONS: Final = (
    ("reference.py", "REFERENCE_VERSION"),
    ("rows.py", "MEASUREMENT_VERSION"),
    ("rows.py", "SCHEMA_VERSION"),
)


@dataclass(frozen=True)
class TimeRequest:
    """What the user asked for.

    Attributes:
        base, head: commits; head None means the working tree as it is.
        everything: measure families whose code is the same on both sides, too.
        families: those to look at; all if empty.
        sweep: file or name of the sweep with the cells, the more telling ones first.
    """

    base: str
    head: str | None = None
    everything: bool = False
    families: tuple[str, ...] = ()
    sweep: str = SWEEP

    @property
    def command(self) -> str:
        """The command line that asks the same."""
        words = ["ratebp-bench gate --time", self.base]
        words += ["--head", self.head] if self.head is not None else []
        words += ["--all"] if self.everything else []
        words += [f"--family {name}" for name in self.families]
        words += ["--sweep", self.sweep] if self.sweep != SWEEP else []
        return " ".join(words)


def run(request: TimeRequest, listener: RunListener) -> GateReport:
    """Compare two commits.

    Raises:
        HarnessError: if a side cannot be had or measured, or the sweep is wrong.
    """
    with checkouts(request.base, request.head) as sides:
        return compare(sides, request, listener)[0]


def compare(
    sides: Versions,
    request: TimeRequest,
    listener: RunListener,
    executor: Callable[[tuple[str, ...]], Executor] = LocalExecutor,
) -> tuple[GateReport, tuple[Value, ...]]:
    """Compare two sides that are there; the report, and what every process said.

    Raises:
        HarnessError: as `run` does.
    """
    base, head = sides.base, sides.head
    compared = f"{head.name} ({head.commit}) with {base.name} ({base.commit})"
    if unequal := _unequal(sides):
        return GateReport("time", compared, notes=(unequal,), own=Exit.REBASELINE_NEEDED), ()
    before, after = (
        catalogue.load(side.command("-m", "ratebp.catalogue")) for side in (base, head)
    )
    cells, timeout_s = _cells(request.sweep, after)
    asked, notes = choose(
        cells, before, after, everything=request.everything, families=request.families
    )
    with tempfile.TemporaryDirectory(prefix="ratebp-gate-") as folder:
        job = Job(Path(folder), listener, timeout_s, executor)
        refused = job.rehearse(base, (cell for claim in asked for cell in claim.cells))
        notes += [f"{cell.method.label} is not measured: {why}" for cell, why in refused.items()]
        claims = without(asked, refused)
        if not claims:
            notes.append("no method that can be measured differs in code: no time to compare")
            return GateReport("time", compared, notes=tuple(notes)), ()
        arms = {claim.family: Arm(claim.family, base, head, claim.cells) for claim in claims}
        arms[PLACEBO] = Arm(PLACEBO, base, sides.again, claims[0].cells)
        decision = _decide(job, arms)
    return _report(compared, request, arms, job, decision, notes), tuple(job.values)


@dataclass(frozen=True)
class Decision:
    """What a job found: findings by family, the margin (log), whether the placebo alarmed."""

    findings: Mapping[str, Shift]
    placebo: Shift
    margin: float
    void: bool


def decide(
    families: Sequence[str],
    measure: Callable[[Sequence[str], range], Mapping[str, Sequence[float]]],
) -> Decision:
    """The protocol: a look at `PAIRS` pairs and, for what stays undecided, one at twice as many.

    A verdict of the first look stands.

    Args:
        families: names of the claims.
        measure: `measure(arms, pairs)` measures these pairs of these arms (the placebo's among
            them) and returns all differences so far of every arm, log ratio of head minus base.
    """
    found: dict[str, Shift] = {}
    undecided = list(families)
    for look in range(2):
        differences = measure([*undecided, PLACEBO], range(look * PAIRS, (look + 1) * PAIRS))
        placebo, margin = differences[PLACEBO], statistics.margin(differences[PLACEBO])
        void = statistics.alarms(placebo)
        judged = statistics.judge({name: differences[name] for name in families}, margin)
        found |= {name: judged[name] for name in undecided}
        undecided = [name for name in undecided if found[name].verdict is Verdict.INCONCLUSIVE]
        if void or not undecided:
            break
    return Decision(found, statistics.judge({PLACEBO: placebo}, margin)[PLACEBO], margin, void)


def _decide(job: Job, arms: Mapping[str, Arm]) -> Decision:
    def measure(names: Sequence[str], pairs: range) -> dict[str, Sequence[float]]:
        job.measure([arms[name] for name in names], pairs)
        return {name: list(job.differences(arm)) for name, arm in arms.items()}

    return decide([name for name in arms if name != PLACEBO], measure)


def _unequal(sides: Versions) -> str | None:
    """Why the two sides' ratios are different metrics; None if they are not."""
    for module, name in _VERSIONS:
        before, after = (side.version(module, name) for side in (sides.base, sides.head))
        if before != after:
            return (
                f"{name} is {before} at the base and {after} at the head: their ratios are "
                "different metrics, or of cells that one side cannot name. Compare from the commit "
                "on that changed it"
            )
    return None


def _cells(name: str, offered: Catalogue) -> tuple[list[Cell], float]:
    """The time cells of a sweep, in its order, and its deadline in seconds."""
    path = file.find(name)
    plan = file.read(path)
    offered = expand.offered_to(plan, path.parent, offered)
    provenance = here(offered)
    asked = expand.ask(
        plan,
        offered,
        auto_device=provenance.auto_device,
        no_cuda=provenance.no_cuda,
        source=path.name,
        folder=path.parent,
    )
    return [question.cell for question in asked if question.probe == "time"], plan.timeout_s


def _report(
    compared: str,
    request: TimeRequest,
    arms: Mapping[str, Arm],
    job: Job,
    decision: Decision,
    notes: Sequence[str],
) -> GateReport:
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    said = {**decision.findings, **({PLACEBO: decision.placebo} if decision.void else {})}
    return GateReport(
        "time",
        compared,
        tuple(_change(arms[name], said[name], job, decision.void, request) for name in said),
        (
            *notes,
            f"margin {math.expm1(decision.margin):.1%}; placebo (base against base) "
            f"{_words(decision.placebo)}; {len(job.values)} processes; load {load}",
            *(_description(arms[name], job) for name in decision.findings),
            *([_ACCEPT] if any(f.verdict is Verdict.SLOWER for f in said.values()) else []),
        ),
        spans=tuple(
            _span(arms[name], finding, job, decision.void)
            for name, finding in {**decision.findings, PLACEBO: decision.placebo}.items()
        ),
        margin=math.exp(decision.margin),
    )


def _change(arm: Arm, finding: Shift, job: Job, void: bool, request: TimeRequest) -> Change:
    left, right = (
        math.exp(fmean(value for cell in arm.cells for value in job.logs(arm, cell, side)))
        for side in ("left", "right")
    )
    return Change(
        subject=arm.name,
        quantity=METRIC,
        before=left,
        after=right,
        verdict=Verdict.VOID if void else finding.verdict,
        ratio=math.exp(finding.shift),
        certainty=_words(finding),
        reproduce=request.command,
    )


def _span(arm: Arm, finding: Shift, job: Job, void: bool) -> Span:
    shifts = ((c.method.label, math.exp(statistics.shift(job.of(arm, c)))) for c in arm.cells)
    bounded = math.isfinite(finding.low)
    return Span(
        name=arm.name,
        ratio=math.exp(finding.shift),
        low=math.exp(finding.low) if bounded else None,
        high=math.exp(finding.high) if bounded else None,
        pairs=finding.pairs,
        verdict=Verdict.VOID if void else finding.verdict,
        cells=tuple(shifts),
    )


def _words(finding: Shift) -> str:
    low, high = (f"{math.expm1(bound):+.1%}" for bound in (finding.low, finding.high))
    return f"{math.expm1(finding.shift):+.1%}, 95 % {low} to {high}, {finding.pairs} pairs"


def _description(arm: Arm, job: Job) -> str:
    shifts = ((cell, statistics.shift(job.of(arm, cell))) for cell in arm.cells)
    parts = (f"{cell.method.label} {math.expm1(by):+.1%}" for cell, by in shifts)
    return f"{arm.name}, cell by cell (no claim): {', '.join(parts)}"
