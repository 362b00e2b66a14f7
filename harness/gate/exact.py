"""The exact tier: every figure of a fixed list of cells must equal the recorded one.

Counted on fake tensors by `harness.planning.client`, so it needs no GPU, no data and no quiet
machine. Whoever makes a method cheaper records that, or the next regression would hide in the gap.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.errors import SweepError, unknown
from harness.gate.baseline import Baseline, CellName, Figures, environment, figures
from harness.gate.comparison import RECORDABLE, compare
from harness.gate.verdict import Exit, GateReport, Verdict
from harness.outcome import Outcome
from harness.planning import plan
from harness.planning.client import Planner
from harness.planning.plan import PlanListener
from harness.spec import LATER
from harness.sweep import catalogue
from harness.sweep.catalogue import Catalogue
from harness.sweep.expand import offered_to
from harness.sweep.file import find, read

SWEEP: Final = "exact_gate"
BASELINES: Final = Path("results/baselines/exact")


@dataclass(frozen=True)
class ExactRequest:
    """What to compare: a sweep (file or name), a folder of baselines, some methods or all.

    `update` records what was counted, unless a cell failed.
    """

    sweep: str = SWEEP
    baselines: Path = BASELINES
    methods: tuple[str, ...] = ()
    update: bool = False

    def command(self, methods: Sequence[str], *, update: bool) -> str:
        """The command line that asks this of some methods, or of all."""
        words = ["ratebp-bench", "gate", "--exact"]
        if self.sweep != SWEEP:
            words += ["--sweep", self.sweep]
        if self.baselines != BASELINES:
            words += ["--baselines", str(self.baselines)]
        for method in methods:
            words += ["--method", method]
        return shlex.join([*words, *(["--update"] if update else [])])

    def commands(self, place: CellName) -> tuple[str, str]:
        """How to count one method's cells again, and how to record them."""
        methods = [place.name]
        return self.command(methods, update=False), self.command(methods, update=True)


def run(
    request: ExactRequest,
    planner: Planner,
    listener: PlanListener,
    *,
    command: Sequence[str] = catalogue.COMMAND,
) -> GateReport:
    """Count the cells and compare them with the baseline of this environment.

    Raises:
        HarnessError: if the list of cells is wrong, or the baseline is damaged or cannot be
            written.
    """
    baseline = Baseline(request.baselines / environment())
    first = not baseline.exists()
    if first and not request.update:
        return _missing(request, baseline)
    path = find(request.sweep)
    offered = offered_to(read(path), path.parent, catalogue.load(command))
    recorded = baseline.read(request.methods)
    found = _count(request, planner, listener, offered, recorded)
    changes, rows = compare(recorded, found, request.commands)
    broken = {each.source: each.error for each in offered.broken}
    notes = [f"{source} could not be loaded: {error}" for source, error in broken.items()]
    notes += offered.failures()
    failed = [str(place) for place, told in found.items() if told.status not in RECORDABLE]
    accepted = request.update and not failed
    if accepted:
        baseline.write({place: figures(told) for place, told in found.items()}, request.methods)
        notes.append(f"recorded in {baseline.folder}; commit it with the change that explains it")
    elif request.update:
        notes.append(f"nothing is recorded while {_many(failed, 'cell')} cannot be counted")
    if first:  # everything is new, and saying so of each cell says nothing
        changes, rows = [each for each in changes if each.verdict is not Verdict.NEW], []
    return GateReport(
        tier="exact",
        compared=_compared(found, baseline),
        changes=tuple(changes),
        notes=tuple(notes),
        rows=tuple(rows),
        accept=request.command(request.methods, update=True)
        if any(c.accept for c in changes)
        else "",
        accepted=accepted,
    )


def _missing(request: ExactRequest, baseline: Baseline) -> GateReport:
    """The report where nothing is recorded for this environment; it lists those that are."""
    others = sorted(path.parent.name for path in request.baselines.glob("*/*.csv"))
    there = ", ".join(dict.fromkeys(others)) or "none"
    note = (
        f"no baseline for {baseline.folder.name} in {request.baselines} (recorded: {there}). Exact "
        "figures compare within one minor version of torch and one version of the measurement. "
        "Record them at a revision that is known to be good"
    )
    return GateReport(
        tier="exact",
        compared="nothing was compared",
        notes=(note,),
        accept=request.command((), update=True),
        own=Exit.REBASELINE_NEEDED,
    )


def _count(
    request: ExactRequest,
    planner: Planner,
    listener: PlanListener,
    offered: Catalogue,
    recorded: Mapping[CellName, Figures],
) -> dict[CellName, Outcome]:
    """The exact figures of every cell that is asked for."""
    path = find(request.sweep)
    asked = list(plan.cells(read(path), offered, path.name, path.parent))
    for axis, usual in LATER.items():
        if others := sorted({str(getattr(cell, axis)) for cell in asked} - {usual}):
            raise SweepError(
                f"{path.name}: a baseline holds cells of {axis} = {usual!r} alone, not of "
                f"{', '.join(map(repr, others))}: its figures would be another program's; drop them"
            )
    legal = {cell.method.name for cell in asked} | {place.name for place in recorded}
    for method in request.methods:
        if method not in legal:
            raise SweepError(unknown(f"method in {path.name}:", method, legal))
    if request.methods:
        asked = [cell for cell in asked if cell.method.name in request.methods]
    listener.planned(asked, planner.jobs)
    found = {}
    for cell, prediction in planner.predict(asked):
        found[CellName.of(cell)] = prediction
        listener.finished(cell, prediction)
    return found


def _compared(found: Mapping[CellName, Outcome], baseline: Baseline) -> str:
    count = sum(len(told.rows) for told in found.values() if told.status == "ok")
    refused = sum(told.status == "skipped" for told in found.values())
    cells = _many(found, "cell")
    program = f"operators {LATER['operators']}"
    told = f"{cells} ({refused} refused by their methods), {count} figures of {program}"
    return f"{told}, with {baseline.folder}"


def _many(things: Mapping[CellName, Outcome] | Sequence[str], what: str) -> str:
    return f"{len(things)} {what}{'' if len(things) == 1 else 's'}"
