"""Processes that count cells on fake tensors, and the questions put to them."""

from __future__ import annotations

import itertools
import json
import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Final, Self

from harness.machine import environment, start
from harness.machine.child import Child, cause
from harness.outcome import UNREADABLE, Outcome
from harness.spec import Cell

PLANNER: Final = start.command("harness.trial.planner")
TIMEOUT_S: Final = 600.0

_GRACE_S: Final = 5.0
_SETTINGS: Final = {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "CUDA_VISIBLE_DEVICES": ""}


class Planner:
    """`jobs` child processes, each on one core, that answer one cell at a time.

    A child is started when it is first needed and lives until the planner is closed. One that dies
    or is past `timeout_s` seconds with a cell is replaced, and the cell's status says so. Children
    end with their parent, however that ends.

    Args:
        jobs: how many cells are counted side by side; the usable cores by default.
        command: what to start: reads cells and writes answers as `harness.trial.planner` does.
    """

    def __init__(
        self,
        jobs: int | None = None,
        *,
        command: Sequence[str] = PLANNER,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """Start nothing yet."""
        self.jobs = jobs or environment.usable_cores()
        self._command = tuple(command)
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._idle: list[Child] = []
        self._live: set[Child] = set()
        self._closed = False
        self._numbers = itertools.count()
        self._folder = tempfile.TemporaryDirectory(prefix="ratebp-planner-")
        # The kernel kills a child when the thread that started it ends: these live as long as we.
        self._pool = ThreadPoolExecutor(self.jobs)

    def __enter__(self) -> Self:
        """Return the planner itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the children."""
        self.close()

    def submit(self, cell: Cell) -> Future[Outcome]:
        """Ask about one cell; answers come in the order of asking as children get free."""
        return self._pool.submit(self._ask, cell)

    def predict(self, cells: Sequence[Cell]) -> Iterator[tuple[Cell, Outcome]]:
        """Ask about many cells, the long ones first, and hand over the answers as they come."""
        ordered = sorted(dict.fromkeys(cells), key=weight, reverse=True)
        asked = {self.submit(cell): cell for cell in ordered}
        try:
            for answer in as_completed(asked):
                yield asked[answer], answer.result()
        finally:
            for answer in asked:
                answer.cancel()

    def close(self) -> None:
        """Kill the children; cells that nobody has answered are dropped."""
        with self._lock:
            self._closed = True
            for child in self._live:
                child.kill()
        self._pool.shutdown(cancel_futures=True)
        for child in self._live:
            child.end()
        self._folder.cleanup()

    def _ask(self, cell: Cell) -> Outcome:
        try:
            child = self._child()
        except OSError as error:
            return Outcome("crash", f"cannot start a process: {error}")
        line = child.ask(json.dumps(cell.request()), self._timeout_s)
        outcome, alive = self._read(line, child)
        if not alive:
            child.end()
        with self._lock:
            if alive:
                self._idle.append(child)
            else:
                self._live.discard(child)
        return outcome

    def _child(self) -> Child:
        with self._lock:
            if self._closed:
                raise OSError("the planner is closed")
            if self._idle:
                return self._idle.pop()
            log = Path(self._folder.name) / f"{next(self._numbers)}.stderr"
            child = Child(self._command, log, os.environ | _SETTINGS)
            self._live.add(child)
            return child

    def _read(self, line: str, child: Child) -> tuple[Outcome, bool]:
        """What the line of a child says, and whether the child can be asked again."""
        if line.endswith("\n"):
            try:
                return Outcome.from_text(line), not child.late
            except UNREADABLE as error:
                text = f"no valid answer: {type(error).__name__}: {error}"
                return Outcome("crash", text), False
        code = child.end(_GRACE_S)  # it has closed its output, and should be ending
        if child.late:
            text = f"no answer after {self._timeout_s:g} s"
            return Outcome("timeout", text, seconds=self._timeout_s), False
        return Outcome("crash", f"the planning process ended: {cause(code, child.log)}"), False


def weight(cell: Cell) -> int:
    """How long a cell takes, in an arbitrary unit: most methods run operators for each time step.

    The constant stands for what is done once: the model, its binding, the update.
    """
    return cell.T + 2
