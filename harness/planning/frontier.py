"""The largest T (for a batch) and the largest batch (for a T) that fit a card.

A cell fits if its exact count (persistent bytes and live peak) with the allowance fits into what
CUDA offers on the card. The batch is searched by exact counts up to its cap: the count takes the
same time for every batch. T is searched by exact counts up to `counted_to` steps; beyond, where a
count would take minutes, by the affine law that the counts obey exactly from some T on. Such
answers say so. The law cannot be proved from outside: a kink beyond the counted range would lower
the answer, never raise it, because the count is convex in T.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from harness.outcome import Outcome
from harness.planning.allowance import Allowance
from harness.planning.cards import Card
from harness.planning.client import Planner
from harness.planning.search import Reach, SearchAxis, by_law, largest
from harness.spec import AXES, Cell

FREE: Final = 0
"""What stands for the free axis in the cell of a line."""

CAPS: Final = {"T": 1024, "batch": 65536}
COUNTED_TO: Final = 32
"""Time steps up to which T is searched by exact counts."""


@dataclass(frozen=True)
class Line:
    """One search: `axis` ("T" or "batch") of `cell` is free, everything else is given."""

    cell: Cell
    axis: str


@dataclass(frozen=True)
class Limit:
    """How far a line goes on a card, or why nobody can say.

    `status` is that of the first count that failed, else "ok"; `reach` is there if it is "ok".
    """

    line: Line
    card: Card
    room: int
    status: str
    error: str | None
    reach: Reach | None


class _Refused(Exception):  # noqa: N818 - an answer, not a fault
    """A cell of the line cannot be counted."""

    def __init__(self, prediction: Outcome) -> None:
        super().__init__(prediction.error)
        self.prediction = prediction


class Frontier:
    """Searches along lines; cells that two searches share are counted once.

    Args:
        counted_to: time steps up to which T is searched by exact counts.
        caps: where the search along each axis ends.
    """

    def __init__(
        self,
        planner: Planner,
        allowance: Allowance,
        *,
        counted_to: int = COUNTED_TO,
        caps: Mapping[str, int] = CAPS,
    ) -> None:
        """Count nothing yet."""
        self._planner = planner
        self._allowance = allowance
        self._counted_to = counted_to
        self._caps = caps
        self._asked: dict[Cell, Future[Outcome]] = {}

    def search(self, lines: Sequence[Line], cards: Sequence[Card]) -> Iterator[list[Limit]]:
        """The limits of each line on every card, as they are found."""
        with ThreadPoolExecutor(self._planner.jobs) as pool:
            found = [pool.submit(self._along, line, cards) for line in dict.fromkeys(lines)]
            try:
                for each in as_completed(found):
                    yield each.result()
            finally:
                for each in found:
                    each.cancel()

    def _along(self, line: Line, cards: Sequence[Card]) -> list[Limit]:
        axis = SearchAxis(lambda point: self._count(_at(line, point)))
        limits = []
        for card in cards:
            room = self._allowance.room(card.usable)
            try:
                limits.append(Limit(line, card, room, "ok", None, self._reach(axis, line, room)))
            except _Refused as refused:
                told = refused.prediction
                limits.append(Limit(line, card, room, told.status, told.error, None))
        return limits

    def _reach(self, axis: SearchAxis, line: Line, room: int) -> Reach:
        cap = self._caps[line.axis]
        if line.axis == "T":
            return by_law(axis, room, cap, self._counted_to)
        return largest(axis, room, cap)

    def _count(self, cell: Cell) -> int:
        # Two lines that meet in a cell may both ask for it in the same moment: harmless.
        if cell not in self._asked:
            self._asked[cell] = self._planner.submit(cell)
        prediction = self._asked[cell].result()
        if prediction.status != "ok":
            raise _Refused(prediction)
        return prediction.demand


def lines(cells: Sequence[Cell]) -> list[Line]:
    """Every line through the cells: T free at each batch, and the batch free at each T."""
    found = [line for cell in cells for line in (Line(cell, "T"), Line(cell, "batch"))]
    return list(dict.fromkeys(Line(_at(line, FREE), line.axis) for line in found))


def _at(line: Line, point: int) -> Cell:
    """The cell of a line at one point of its free axis."""
    if line.axis == "T":
        return replace(line.cell, T=point)
    return replace(line.cell, batch=point)


def record(limit: Limit, data: str) -> dict[str, Any]:
    """One limit as plain values, for JSON and CSV."""
    line = limit.line
    said = line.cell.said() | {"data": data, line.axis: None}
    reach = asdict(limit.reach) if limit.reach else dict.fromkeys(asdict(Reach(0)))
    notes = "; ".join(reach.pop("notes") or ())
    return {
        **{axis.name: said[axis.name] for axis in AXES if axis.counted},
        "axis": line.axis,
        "card": limit.card.name,
        "card_bytes": limit.card.usable,
        "room_bytes": limit.room,
        "status": limit.status,
        "error": limit.error,
        **reach,
        "notes": notes,
    }
