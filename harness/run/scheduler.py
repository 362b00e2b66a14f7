"""Measures a list of trials: side by side where that is harmless, until done or told to stop."""

from __future__ import annotations

import contextlib
import shutil
import signal
from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from types import FrameType
from typing import Final, Protocol

from harness.machine.signals import handled
from harness.outcome import Outcome
from harness.results.store import Store
from harness.run.exclusive import LARGEST, Turn, Turns
from harness.run.executors import Executor, TrialStopped, attempt
from harness.spec import TrialSpec

ALONE: Final = ("time", "energy")
"""Probes that a neighbour would disturb."""

RETRIED: Final = ("crash", "timeout")
"""Ends that may be bad luck, so the trial gets a second chance at once."""

FOREIGN: Final = "foreign"
"""Fact of an invalid trial that somebody else's process disturbed: that, too, is bad luck."""


_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class RunListener(Protocol):
    """Is told what happens, in the main thread."""

    def planned(self, todo: Sequence[TrialSpec], total: int, jobs: int) -> None:
        """`todo` trials of `total` are about to be measured, up to `jobs` side by side."""

    def finished(self, spec: TrialSpec, outcome: Outcome) -> None:
        """One trial has its record."""

    def notice(self, text: str) -> None:
        """Something that the user should know."""


class Scheduler:
    """The main thread waits for threads, each of which waits for one trial process.

    The first Ctrl-C ends the launching and lets running trials finish; a second one, SIGTERM or
    SIGHUP kills them. A killed trial leaves no record, so that the next run measures it.

    Attributes:
        measured: trials that got a record.
        stopped: the signal that cut the work short, or None.
    """

    def __init__(
        self,
        store: Store,
        executor: Executor,
        listener: RunListener,
        record: Callable[[TrialSpec, Outcome, int], dict[str, object]],
        jobs: int,
    ) -> None:
        """`record` makes the record of a trial from its outcome and the number of attempts."""
        self.measured = 0
        self.stopped: int | None = None
        self._store = store
        self._executor = executor
        self._listener = listener
        self._record = record
        self._jobs = jobs

    def measure(self, specs: Sequence[TrialSpec]) -> None:
        """Measure the trials in their order.

        Raises:
            StoreError: if a record cannot be written; running trials are killed first.
        """
        with handled(self._on_signal, *_ENDING), ThreadPoolExecutor(self._jobs) as pool:
            try:
                self._loop(pool, specs)
            except BaseException:
                self._executor.stop()
                raise

    def _loop(self, pool: ThreadPoolExecutor, specs: Sequence[TrialSpec]) -> None:
        waiting = deque(specs)
        running: dict[Future[tuple[Outcome, int]], TrialSpec] = {}
        while True:
            while waiting and self.stopped is None and self._fits(waiting[0], running.values()):
                for spec, turn in self._next(waiting):
                    running[pool.submit(self._attempt, spec, turn)] = spec
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                spec = running.pop(future)
                with contextlib.suppress(TrialStopped):
                    self._keep(spec, *future.result())

    def _fits(self, spec: TrialSpec, running: Collection[TrialSpec]) -> bool:
        if any(map(_alone, (spec, *running))):
            return not running
        return len(running) < self._jobs

    def _next(self, waiting: deque[TrialSpec]) -> list[tuple[TrialSpec, Turn | None]]:
        """The trials to start now: one, or some that get ready together and take turns."""
        most = min(self._jobs, LARGEST, len(waiting))
        count = next((n for n in range(most) if not _in_turn(waiting[n])), most)
        if count < 2:
            return [(waiting.popleft(), None)]
        turns = Turns(count)
        return [(waiting.popleft(), turns.member(number)) for number in range(count)]

    def _attempt(self, spec: TrialSpec, turn: Turn | None) -> tuple[Outcome, int]:
        folder = self._store.logs(spec.trial)
        try:
            return attempt(self._executor, spec, folder, self._again, turn)
        finally:
            if turn is not None:
                turn.leave()

    def _again(self, outcome: Outcome) -> bool:
        disturbed = outcome.status == "invalid" and bool(outcome.facts.get(FOREIGN))
        return self.stopped is None and (disturbed or outcome.status in RETRIED)

    def skip(self, spec: TrialSpec, outcome: Outcome) -> None:
        """Give a trial its record without running it.

        Raises:
            StoreError: if the record cannot be written.
        """
        self._keep(spec, outcome, 0)

    def _keep(self, spec: TrialSpec, outcome: Outcome, attempts: int) -> None:
        self._store.write_record(self._record(spec, outcome, attempts))
        if outcome.status == "ok":
            shutil.rmtree(self._store.logs(spec.trial), ignore_errors=True)
        self.measured += 1
        self._listener.finished(spec, outcome)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.stopped is None:
            self._listener.notice("stopping after the running trials; Ctrl-C again kills them")
        else:
            self._executor.stop()
        self.stopped = number if self.stopped is None else self.stopped


def _in_turn(spec: TrialSpec) -> bool:
    """Whether a trial may get ready beside others; on a GPU even that takes its memory."""
    return spec.probe in ALONE and spec.cell.device == "cpu"


def _alone(spec: TrialSpec) -> bool:
    """Whether nothing may run beside a trial; a GPU has room for one."""
    return spec.probe in ALONE or spec.cell.device != "cpu"
