"""What a gate can say: verdicts on single figures, and the exit code of the whole.

    0 fine                  nothing got worse, and the baseline tells the truth
    1 regression            something got worse, vanished, or no longer trains
    2 harness error         nothing can be said: a wrong option, a full disk, no answer in time
    3 rebaseline needed     nothing got worse, but the baseline must be recorded anew
    4 inconclusive          the noise is too large for an answer

What a change of the code alone can mend is 1; what recording mends is 3.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final


class Exit(IntEnum):
    """Exit codes of `ratebp-bench gate`."""

    FINE = 0
    REGRESSION = 1
    HARNESS_ERROR = 2
    REBASELINE_NEEDED = 3
    INCONCLUSIVE = 4

    @property
    def words(self) -> str:
        """The name as people read it, for example `rebaseline needed`."""
        return self.name.lower().replace("_", " ")


SEVERITY: Final = (
    Exit.FINE,
    Exit.INCONCLUSIVE,
    Exit.REBASELINE_NEEDED,
    Exit.HARNESS_ERROR,
    Exit.REGRESSION,
)
"""From the least to the worst: a regression that is proven stands, whatever else went wrong."""


class Verdict(StrEnum):
    """The verdict on one figure or one cell.

    Exact figures are `same`, `worse` or `better`; cells are `new`, `vanished`, `refused` (its
    method no longer trains the network), `failed` (a crash, an out-of-memory, a figure that would
    mislead) or `unanswered` (a time-out). Times are in capitals.
    """

    SAME = "same"
    WORSE = "worse"
    BETTER = "better"
    NEW = "new"
    VANISHED = "vanished"
    REFUSED = "refused"
    FAILED = "failed"
    UNANSWERED = "unanswered"
    SLOWER = "SLOWER"
    FASTER = "FASTER"
    EQUAL = "SAME"
    INCONCLUSIVE = "INCONCLUSIVE"
    VOID = "VOID"

    @property
    def exit(self) -> Exit:
        """What this verdict alone makes of the whole."""
        return _EXITS.get(self, Exit.FINE)


_EXITS: Final = {
    Verdict.WORSE: Exit.REGRESSION,
    Verdict.VANISHED: Exit.REGRESSION,
    Verdict.REFUSED: Exit.REGRESSION,
    Verdict.FAILED: Exit.REGRESSION,
    Verdict.SLOWER: Exit.REGRESSION,
    Verdict.UNANSWERED: Exit.HARNESS_ERROR,
    Verdict.BETTER: Exit.REBASELINE_NEEDED,
    Verdict.NEW: Exit.REBASELINE_NEEDED,
    Verdict.INCONCLUSIVE: Exit.INCONCLUSIVE,
    Verdict.VOID: Exit.INCONCLUSIVE,
}


@dataclass(frozen=True)
class Change:
    """One line of a gate's output.

    Attributes:
        subject, quantity: which cell, and which figure of it; changes of one subject are shown
            together.
        before, after: the figure at the base and now, in `unit`; text where it is no number; None
            where there is none.
        verdict: one word.
        ratio: after over before.
        certainty: `exact`, or the interval of the ratio with its level, in words.
        reproduce, accept: the commands that show it again, and that make it the new normal; empty
            where there is none.
    """

    subject: str
    quantity: str
    before: float | str | None
    after: float | str | None
    verdict: Verdict
    unit: str = "1"
    ratio: float | None = None
    certainty: str = "exact"
    reproduce: str = ""
    accept: str = ""


@dataclass(frozen=True)
class Span:
    """The interval behind one claim about time, as ratios of head over base.

    `low` and `high` are None where the pairs bound nothing. `cells` are the shifts of its cells,
    which carry no claim. The placebo is base over base.
    """

    name: str
    ratio: float
    low: float | None
    high: float | None
    pairs: int
    verdict: Verdict
    cells: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class GateReport:
    """What one tier found.

    Attributes:
        tier: `exact` or `time`.
        compared: what was compared with what, in a sentence.
        changes: its lines.
        notes: whatever else a reader must know, one sentence each.
        rows: lines of the baseline as they would be recorded, for what has changed.
        accept: the one command that makes all of it the new normal; empty where there is none.
        accepted: whether the changes have just been recorded, so that none of them counts.
        own: what the tier says apart from its changes, for example that there is no baseline.
        spans, margin: for times: the intervals, and the ratio above 1 that a change must surely
            exceed to count.
    """

    tier: str
    compared: str
    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    accept: str = ""
    accepted: bool = False
    own: Exit = Exit.FINE
    spans: tuple[Span, ...] = ()
    margin: float | None = None

    @property
    def exit(self) -> Exit:
        """The exit code."""
        counting = () if self.accepted else self.changes
        return worst([self.own, *(change.verdict.exit for change in counting)])


def worst(exits: Iterable[Exit]) -> Exit:
    """The gravest of several exit codes; fine if there are none."""
    return max(exits, key=SEVERITY.index, default=Exit.FINE)
