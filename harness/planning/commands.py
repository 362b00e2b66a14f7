"""What the commands `plan` and `frontier` do between their options and their tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from harness.errors import SweepError, unknown
from harness.planning import allowance, cards, plan, table
from harness.planning.allowance import Allowance
from harness.planning.cards import Card
from harness.planning.client import Planner
from harness.planning.frontier import COUNTED_TO, Frontier, Limit, Line, lines, record
from harness.results.store import write_text
from harness.spec import Cell, Choice
from harness.sweep import catalogue
from harness.sweep.expand import offered_to
from harness.sweep.file import Sweep, find, read

DEFAULT_AXES: Final[Mapping[str, Any]] = {
    "model": ["resnet18"],
    "data": ["synthetic-3x32x32-10"],
    "T": [4],
    "batch": [128],
}


@dataclass(frozen=True)
class FrontierRequest:
    """What the user wants the frontier of: a sweep, or axes of one; cards by name, all if none."""

    sweep: str | None = None
    axes: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    cards: Sequence[str] = ()
    counted_to: int = COUNTED_TO


@dataclass(frozen=True)
class Frontiers:
    """The limits of every line on every card, the data sets' names by shape, and the allowance."""

    limits: tuple[Limit, ...]
    data: Mapping[Choice, str]
    cards: tuple[Card, ...]
    allowance: Allowance

    def records(self) -> list[dict[str, Any]]:
        """One plain dictionary a limit."""
        return [record(limit, self.data[limit.line.cell.data]) for limit in self.limits]


class FrontierListener(Protocol):
    """Is told how the search goes on."""

    def planned(self, lines: Sequence[Line], jobs: int) -> None:
        """Lines that will be searched, `jobs` side by side."""

    def finished(self, limits: Sequence[Limit]) -> None:
        """One line is searched, on every card."""


def frontier(
    request: FrontierRequest,
    planner: Planner,
    listener: FrontierListener,
    *,
    command: Sequence[str] = catalogue.COMMAND,
) -> Frontiers:
    """Search every line that the request asks for.

    Raises:
        HarnessError: if the sweep, an axis or a card is wrong.
    """
    chosen = _cards(request.cards)
    asked = _cells(request, command)
    wanted = lines(list(asked))
    listener.planned(wanted, planner.jobs)
    beyond = allowance.load()
    search = Frontier(planner, beyond, counted_to=request.counted_to)
    found: dict[Line, list[Limit]] = {}
    for limits in search.search(wanted, chosen):
        found[limits[0].line] = limits
        listener.finished(limits)
    data = {cell.data: names for cell, names in asked.items()}
    ordered = tuple(limit for line in wanted for limit in found[line])
    return Frontiers(ordered, data, chosen, beyond)


def write(found: Frontiers, path: Path) -> None:
    """Write the limits as JSON or CSV, as the suffix says.

    Raises:
        SweepError: for another suffix.
        StoreError: if the disk refuses.
    """
    records = found.records()
    if path.suffix == ".csv":
        table.write_csv(path, list(records[0]), [list(each.values()) for each in records])
    elif path.suffix == ".json":
        document = {"allowance": vars(found.allowance), "limits": records}
        write_text(path, json.dumps(document, indent=1) + "\n")
    else:
        raise SweepError(f"{path}: cannot write {path.suffix!r} files; legal: .csv, .json")


def _cells(request: FrontierRequest, command: Sequence[str]) -> Mapping[Cell, str]:
    """The cells of the sweep, or of one grid made of the axes."""
    if request.sweep is not None:
        if request.axes:
            given = ", ".join(f"--{name}" for name in request.axes)
            raise SweepError(f"a sweep names its own axes: drop {given}, or drop the sweep")
        path = find(request.sweep)
        sweep, folder, source = read(path), path.parent, path.name
    else:
        grid = {"probes": ["memory"], "method": ["all"], **DEFAULT_AXES, **request.axes}
        sweep = Sweep.model_validate({"name": "frontier", "grid": [grid]})
        folder, source = Path(), "the options"
    return plan.cells(sweep, offered_to(sweep, folder, catalogue.load(command)), source, folder)


def _cards(names: Sequence[str]) -> tuple[Card, ...]:
    known = {card.name.removesuffix(" GB"): card for card in cards.CARDS}
    for name in names:
        if name not in known:
            raise SweepError(unknown("card (its size in GB)", name, known))
    return tuple(known[name] for name in names or known)
