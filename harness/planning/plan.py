"""The exact tier of every cell of a sweep, without data, GPU or a real step.

What the exact tier depends on is method, model, T, batch, type and the *shape* of the data: device,
seed, training budget and repeats do not matter, and neither do the files of a data set. The counts
are those of operators as a CPU dispatches them: torch's own, whatever this machine would run,
unless the sweep names others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from harness.data.facts import Facts, synthetic
from harness.outcome import Outcome
from harness.planning import table
from harness.planning.client import Planner
from harness.spec import AXES, LATER, Cell, Choice
from harness.sweep import catalogue
from harness.sweep.catalogue import Catalogue
from harness.sweep.expand import ask, offered_to
from harness.sweep.file import Sweep, find, read

AUTO: Final = LATER["operators"]
"""The operators that a plan counts where a sweep does not name any: those of every machine."""

COLUMNS: Final = (
    *(axis.name for axis in AXES if axis.counted),
    *("status", "error", "seconds", "metric", "phase", "value", "unit"),
)


class PlanListener(Protocol):
    """Is told how the work goes on."""

    def planned(self, cells: Sequence[Cell], jobs: int) -> None:
        """Cells that will be counted, `jobs` side by side."""

    def finished(self, cell: Cell, prediction: Outcome) -> None:
        """One cell has its answer."""


@dataclass(frozen=True)
class Planned:
    """One cell, the data sets that the sweep names for it, and its prediction."""

    cell: Cell
    data: str
    prediction: Outcome


def plan(
    sweep: str,
    planner: Planner,
    listener: PlanListener,
    *,
    command: Sequence[str] = catalogue.COMMAND,
) -> list[Planned]:
    """Count every distinct cell of a sweep; the result is in the order of the sweep.

    Raises:
        HarnessError: if the sweep is wrong.
    """
    path = find(sweep)
    wanted = read(path)
    offered = offered_to(wanted, path.parent, catalogue.load(command))
    asked = cells(wanted, offered, path.name, path.parent)
    listener.planned(list(asked), planner.jobs)
    answers: dict[Cell, Outcome] = {}
    for cell, prediction in planner.predict(list(asked)):
        answers[cell] = prediction
        listener.finished(cell, prediction)
    return [Planned(cell, names, answers[cell]) for cell, names in asked.items()]


def cells(
    sweep: Sweep, offered: Catalogue, source: str = "sweep", folder: Path = Path()
) -> Mapping[Cell, str]:
    """The distinct cells of a sweep, each with the data sets of its shape that the sweep names.

    Raises:
        SweepError: if a method, model, option or data set does not exist.
    """
    names: dict[Choice, dict[str, None]] = {}

    def stand_in(choice: Choice, facts: Facts | None) -> Choice:
        same = choice if facts is None else Choice(synthetic(facts.shape, facts.num_classes))
        names.setdefault(same, {})[choice.label] = None
        return same

    changes = {"probes": ["memory"], "seed": [0], "training": None}
    plain = sweep.model_copy(
        update={"grid": [grid.model_copy(update=changes) for grid in sweep.grid]}
    )
    asked = ask(
        plain,
        offered,
        device="cpu",
        operators=AUTO,
        source=source,
        folder=folder,
        stands_for=stand_in,
    )
    found = {question.cell: None for question in asked}
    return {cell: ", ".join(names[cell.data]) for cell in found}


def exit_code(planned: Sequence[Planned]) -> int:
    """0; 1 if the count of a cell failed. A cell that its method refuses has its answer."""
    return int(any(each.prediction.status not in ("ok", "skipped") for each in planned))


def write_csv(planned: Sequence[Planned], path: Path) -> None:
    """Write the long table: one line a figure, one line for a cell that has none.

    Raises:
        StoreError: if the disk refuses.
    """
    lines: list[tuple[object, ...]] = []
    for each in planned:
        cell, told = each.cell, each.prediction
        said = cell.said() | {"data": each.data}
        names = (said[axis.name] for axis in AXES if axis.counted)
        head = (*names, told.status, told.error or "", told.seconds)
        lines += [(*head, r.metric, r.phase, int(r.values[0]), r.unit) for r in told.rows]
        if not told.rows:
            lines.append((*head, "", "", "", ""))
    table.write_csv(path, COLUMNS, lines)
