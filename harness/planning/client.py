"""Processes that count cells on fake tensors, and the questions put to them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, Self

from harness.errors import RowError
from harness.machine import environment, start
from harness.rows import STATUSES, Row
from harness.run import executors
from harness.run.executors.outcomes import tail
from harness.spec import Cell

PLANNER: Final = start.command("harness.trial.planner")
TIMEOUT_S: Final = 600.0

_LAUNCH: Final = (sys.executable, "-I", "-S", str(Path(executors.__file__).parent / "launch.py"))
_GRACE_S: Final = 5.0
_SETTINGS: Final = {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "CUDA_VISIBLE_DEVICES": ""}


@dataclass(frozen=True)
class Prediction:
    """What is known of a cell without running it: one of `harness.rows.STATUSES`, why, figures."""

    status: str
    error: str | None = None
    rows: tuple[Row, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def figure(self, metric: str, phase: str = "step") -> int:
        """One exact figure, in the unit of its row.

        Raises
        ------
        KeyError
            If there is no such row, as in a prediction whose status is not "ok".
        """
        for row in self.rows:
            if (row.metric, row.phase) == (metric, phase):
                return int(row.values[0])
        raise KeyError(f"{metric} ({phase})")

    @property
    def demand(self) -> int:
        """Bytes of tensors at the peak of a step: persistent ones and live ones together."""
        return self.figure("mem.persistent") + self.figure("mem.live_peak")


class Planner:
    """`jobs` child processes, each on one core, that answer one cell at a time.

    A child is started when it is first needed and lives until the planner is closed. One that dies
    or is past `timeout_s` seconds with a cell is replaced, and the cell's status says so. Children
    end with their parent, however that ends.

    Parameters
    ----------
    jobs:
        How many cells are counted side by side; the usable cores by default.
    command:
        What to start: reads cells and writes answers as `harness.trial.planner` does.
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
        self._idle: list[_Child] = []
        self._live: set[_Child] = set()
        self._closed = False
        self._folder = tempfile.TemporaryDirectory(prefix="ratebp-planner-")
        # The kernel kills a child when the thread that started it ends: these live as long as we.
        self._pool = ThreadPoolExecutor(self.jobs)

    def __enter__(self) -> Self:
        """Return the planner itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the children."""
        self.close()

    def submit(self, cell: Cell) -> Future[Prediction]:
        """Ask about one cell; answers come in the order of asking as children get free."""
        return self._pool.submit(self._ask, cell)

    def predict(self, cells: Sequence[Cell]) -> Iterator[tuple[Cell, Prediction]]:
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

    def _ask(self, cell: Cell) -> Prediction:
        try:
            child = self._child()
        except OSError as error:
            return Prediction("crash", f"cannot start a process: {error}")
        prediction, alive = child.ask(cell, self._timeout_s)
        with self._lock:
            if alive:
                self._idle.append(child)
            else:
                self._live.discard(child)
        return prediction

    def _child(self) -> _Child:
        with self._lock:
            if self._closed:
                raise OSError("the planner is closed")
            if self._idle:
                return self._idle.pop()
            child = _Child(self._command, Path(self._folder.name))
            self._live.add(child)
            return child


class _Child:
    """One process, asked by one thread at a time."""

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        handle, name = tempfile.mkstemp(dir=folder, suffix=".stderr")
        self._errors = Path(name)
        self._late = False
        with os.fdopen(handle, "wb") as errors:
            self._process = subprocess.Popen(
                [*_LAUNCH, str(os.getpid()), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=os.environ | _SETTINGS,
                text=True,
                start_new_session=True,  # Ctrl-C is the parent's to handle
            )

    def ask(self, cell: Cell, timeout_s: float) -> tuple[Prediction, bool]:
        """The answer, and whether the process can be asked again."""
        deadline = threading.Timer(timeout_s, self._expire)
        deadline.daemon = True
        deadline.start()
        try:
            line = self._exchange(json.dumps(cell.to_json()))
        finally:
            deadline.cancel()
        if not line.endswith("\n"):
            return self._ended(timeout_s), False
        try:
            return _parse(json.loads(line)), True
        except (ValueError, KeyError, TypeError, AttributeError, RowError) as error:
            self.end()
            return Prediction("crash", f"no valid answer: {type(error).__name__}: {error}"), False

    def kill(self) -> None:
        """End the process now."""
        self._process.kill()

    def end(self) -> int:
        """Kill the process unless it has ended, put its pipes away, and give its exit status."""
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]
        return self._process.wait()

    def _exchange(self, question: str) -> str:
        source: IO[str] = self._process.stdin  # type: ignore[assignment]
        answers: IO[str] = self._process.stdout  # type: ignore[assignment]
        with contextlib.suppress(OSError, ValueError):
            source.write(question + "\n")
            source.flush()
        return answers.readline()

    def _expire(self) -> None:
        self._late = True
        self.kill()

    def _ended(self, timeout_s: float) -> Prediction:
        """What the end of the process means for the cell it had."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE_S)  # it has closed its output, and should be ending
        code = self.end()
        if self._late:
            return Prediction("timeout", f"no answer after {timeout_s:g} s", seconds=timeout_s)
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return Prediction("crash", f"the planning process ended: {how}{tail(self._errors)}")


def weight(cell: Cell) -> int:
    """How long a cell takes, in an arbitrary unit: most methods run operators for each time step.

    The constant stands for what is done once: the model, its binding, the update.
    """
    return cell.T + 2


def _parse(plain: dict[str, Any]) -> Prediction:
    if plain["status"] not in STATUSES:
        raise ValueError(f"status {plain['status']!r} is not one of {', '.join(STATUSES)}")
    rows = tuple(map(Row.from_json, plain["rows"]))
    return Prediction(plain["status"], plain["error"], rows, plain["facts"], plain["seconds"])
