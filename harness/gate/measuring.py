"""Pairs of processes: for each cell of each arm one on either side, right after each other.

Which side goes first alternates from pair to pair (ABBA), so a machine that gets slower all the
time favours neither. A process gives one value, the median of its `ratio.step`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.gate import statistics
from harness.gate.worktrees import SideError, Version
from harness.outcome import Outcome
from harness.results import stats
from harness.run.executors import Executor, attempt
from harness.run.executors.local import LocalExecutor
from harness.run.scheduler import RunListener
from harness.spec import Cell, TrialSpec, digest

METRIC: Final = "ratio.step"
_ANSWERS: Final = ("ok", "skipped")


@dataclass(frozen=True)
class Arm:
    """One comparison: a family's cells on two sides."""

    name: str
    left: Version
    right: Version
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Value:
    """What one process said: `ratio` is its median; `order` counts the processes of the job."""

    arm: str
    cell: Cell
    side: str
    pair: int
    order: int
    ratio: float


@dataclass(frozen=True)
class _Process:
    arm: Arm
    cell: Cell
    pair: int
    right: bool

    @property
    def side(self) -> Version:
        return self.arm.right if self.right else self.arm.left


class Job:
    """Runs the processes of one job and keeps their values.

    Attributes:
        values: in the order in which they were measured.
    """

    def __init__(
        self,
        folder: Path,
        listener: RunListener,
        timeout_s: float,
        executor: Callable[[tuple[str, ...]], Executor] = LocalExecutor,
    ) -> None:
        """`folder` is for the files of the processes; `executor` makes one from a command."""
        self.values: list[Value] = []
        self._folder = folder
        self._listener = listener
        self._timeout_s = timeout_s
        self._executor = executor

    def rehearse(self, side: Version, cells: Iterable[Cell]) -> dict[Cell, str]:
        """Run each cell once, for nothing but the caches; why those cannot be trained that cannot.

        Raises:
            SideError: if a process fails twice.
        """
        arm = Arm("rehearsal", side, side, tuple(dict.fromkeys(cells)))
        outcomes = self._run([_Process(arm, cell, 0, False) for cell in arm.cells])
        refused = {}
        for slot, outcome in outcomes:
            if outcome.status == "skipped":
                refused[slot.cell] = outcome.error or "no reason given"
            else:
                _ratio(outcome, slot)
        return refused

    def measure(self, arms: Sequence[Arm], pairs: range) -> None:
        """Measure these pairs of these arms, all arms in turn within a pair.

        Raises:
            SideError: if a process fails twice, or refuses its cell.
        """
        slots = [slot for pair in pairs for arm in arms for slot in _slots(arm, pair)]
        for slot, outcome in self._run(slots):
            self.values.append(
                Value(
                    arm=slot.arm.name,
                    cell=slot.cell,
                    side="right" if slot.right else "left",
                    pair=slot.pair,
                    order=len(self.values),
                    ratio=_ratio(outcome, slot),
                )
            )

    def differences(self, arm: Arm) -> NDArray[np.float64]:
        """By pair: log ratio of the right side minus that of the left one, mean over the cells."""
        return statistics.combine([self.of(arm, cell) for cell in arm.cells])

    def of(self, arm: Arm, cell: Cell) -> NDArray[np.float64]:
        """By pair: the difference of one cell."""
        left, right = (self.logs(arm, cell, side) for side in ("left", "right"))
        return np.subtract(right, left)

    def logs(self, arm: Arm, cell: Cell, side: str) -> list[float]:
        """By pair: the log ratio of one cell on one side."""
        found = [v for v in self.values if (v.arm, v.cell, v.side) == (arm.name, cell, side)]
        return [math.log(value.ratio) for value in sorted(found, key=lambda value: value.pair)]

    def _run(self, slots: Sequence[_Process]) -> Iterator[tuple[_Process, Outcome]]:
        specs = [self._spec(slot, number) for number, slot in enumerate(slots)]
        executors = {
            side: self._executor(side.command("-m", side.module("worker.py")))
            for side in dict.fromkeys(slot.side for slot in slots)
        }
        if slots:
            self._listener.planned(specs, len(specs), 1)
        try:
            for slot, spec in zip(slots, specs, strict=True):
                folder = self._folder / spec.trial
                outcome, _ = attempt(executors[slot.side], spec, folder, _unlucky)
                self._listener.finished(spec, outcome)
                yield slot, outcome
        except BaseException:
            for executor in executors.values():
                executor.stop()
            raise

    def _spec(self, slot: _Process, number: int) -> TrialSpec:
        return TrialSpec(
            trial=f"gate{number:04d}",
            sweep="gate",
            cell=slot.cell,
            probe="time",
            repeat=slot.pair,
            order=number,
            timeout_s=self._timeout_s,
            code=digest([slot.side.name, slot.side.commit])[:16],
        )


def _unlucky(outcome: Outcome) -> bool:
    return outcome.status not in _ANSWERS


def _slots(arm: Arm, pair: int) -> list[_Process]:
    return [
        _Process(arm, cell, pair, right)
        for cell in arm.cells
        for right in ((False, True) if pair % 2 == 0 else (True, False))
    ]


def _ratio(outcome: Outcome, slot: _Process) -> float:
    row = outcome.row(METRIC)
    if row is not None:
        return stats.median(row.values)
    why = outcome.error or outcome.facts.get("reference", "no reason given")
    raise SideError(
        f"{slot.side.name} ({slot.side.commit}): {slot.cell.method.label} gives no {METRIC} "
        f"({outcome.status}): {why}. Nothing can be said about time before that is mended; "
        "`ratebp-bench gate --exact` tells whether the method still trains"
    )
