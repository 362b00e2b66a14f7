"""How far identical trials differ here: the noise of seconds, of ratios, and none in exact counts.

A/A: every process measures the same cell, so every difference is noise. Processes 1 and 4, 2 and 3
of each four form the two sides in the order ABBA, as the time gate compares two commits.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from harness.doctor.finding import Examination, graded
from harness.outcome import Outcome
from harness.results import stats
from harness.run.executors import Executor
from harness.spec import Cell, Choice, TrialSpec

CELL: Final = Cell(
    Choice("bptt_m"), Choice.make("tiny_resnet", {"width": 0.5}), Choice("digits"), 4, 32
)
TIMEOUT_S: Final = 120.0
PAIRS: Final = 8
"""Pairs of processes that the time gate takes; says how small a change it can see here."""

STEP: Final = (0.05, 0.15)
RATIO: Final = (0.03, 0.08)
"""Spread between processes: from here on fair, from here on bad."""


def examine(
    executor: Executor, processes: int, tell: Callable[[int, int], None]
) -> list[Examination]:
    """Run `processes` equal time trials and two equal memory trials.

    `tell(done, all)` is called after each.
    """
    total = processes + 2
    with tempfile.TemporaryDirectory(prefix="ratebp-doctor-") as folder:

        def run(number: int, probe: str) -> Outcome:
            outcome = executor.run(_spec(number, probe), Path(folder) / str(number))
            tell(number + 1, total)
            return outcome

        timed = [run(number, "time") for number in range(processes)]
        counted = [run(processes + number, "memory") for number in range(2)]
    return [*_times(timed), _exact(counted)]


def _spec(number: int, probe: str) -> TrialSpec:
    return TrialSpec(
        trial=f"doctor{number}",
        sweep="doctor",
        cell=CELL,
        probe=probe,
        repeat=number,
        order=number,
        timeout_s=TIMEOUT_S,
    )


def _times(outcomes: Sequence[Outcome]) -> list[Examination]:
    failed = [outcome for outcome in outcomes if outcome.status != "ok"]
    if failed:
        found = f"{len(failed)} of {len(outcomes)} time trials failed: {failed[0].error}"
        advice = "mend that first: `ratebp-bench run quick` shows whole errors"
        return [Examination("step noise", "bad", found, advice)]
    steps = [median(outcome, "time.step") for outcome in outcomes]
    ratios = [median(outcome, "ratio.step") for outcome in outcomes]
    return [_step(steps), _ratio(ratios), _placebo(ratios)]


def median(outcome: Outcome, metric: str) -> float:
    """The process's own figure: the median of its samples."""
    return stats.median(next(row for row in outcome.rows if row.metric == metric).values)


def _step(seconds: Sequence[float]) -> Examination:
    spread = stats.log_spread(seconds)
    low, high = min(seconds) * 1e3, max(seconds) * 1e3
    found = (
        f"the same step took {low:.1f} to {high:.1f} ms in {len(seconds)} processes "
        f"(spread {spread:.1%})"
    )
    verdict = graded(spread, *STEP)
    advice = "" if verdict == "good" else "compare by ratio.step; seconds differ by luck here"
    return Examination("step noise", verdict, found, advice)


def _ratio(ratios: Sequence[float]) -> Examination:
    spread = stats.log_spread(ratios)
    # Half the width of a 95 % interval of the mean difference of two groups of PAIRS processes.
    visible = math.expm1(1.96 * spread * math.sqrt(2 / PAIRS))
    found = (
        f"its ratio to the reference spreads by {spread:.1%}; with {PAIRS} pairs of processes a "
        f"change above about {visible:.1%} can be told"
    )
    verdict = graded(spread, *RATIO)
    advice = "" if verdict == "good" else "take more repeats, and end what runs beside"
    return Examination("ratio noise", verdict, found, advice)


def _placebo(ratios: Sequence[float]) -> Examination:
    fours = [ratios[i : i + 4] for i in range(0, len(ratios) - 3, 4)]
    a = [value for four in fours for value in (four[0], four[3])]
    b = [value for four in fours for value in (four[1], four[2])]
    shift = stats.paired_ratio(b, a)
    found = f"A/A: B over A is {shift.value:.3f} ({shift.low:.3f} to {shift.high:.3f})"
    if shift.low <= 1 <= shift.high:
        return Examination("A/A", "good", found)
    advice = "the machine drifts while it measures; repeat this when it is quiet"
    return Examination("A/A", "fair", f"{found}: equal things look different", advice)


def _exact(outcomes: Sequence[Outcome]) -> Examination:
    failed = [outcome for outcome in outcomes if outcome.status != "ok"]
    if failed:
        return Examination("exact counts", "bad", f"a memory trial failed: {failed[0].error}")
    first, second = (
        {(row.metric, row.phase): row.values for row in outcome.rows if row.kind == "exact"}
        for outcome in outcomes
    )
    unequal = sorted(
        {metric for metric, phase in first if first[metric, phase] != second.get((metric, phase))}
    )
    if unequal or first.keys() != second.keys():
        found = f"two processes disagree on {', '.join(unequal) or 'what there is to count'}"
        return Examination("exact counts", "bad", found, "report this: exact figures must be equal")
    return Examination("exact counts", "good", f"{len(first)} exact figures equal in two processes")
