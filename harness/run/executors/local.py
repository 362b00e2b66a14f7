"""One fresh process a trial on this machine (see `harness.machine.child`), and the talk with it."""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from harness.errors import StoreError
from harness.machine import start
from harness.machine.child import Child
from harness.outcome import Outcome
from harness.run.exclusive import Turn
from harness.run.executors import TrialStopped
from harness.run.executors.driver import DeviceWatch, watching
from harness.run.executors.outcomes import judge, oom_kills
from harness.run.executors.settings import child_environment, pinned
from harness.spec import TrialSpec

WORKER: Final = start.command("harness.trial.worker")
MEASURED: Final = b"measured"
"""What a worker prints when its figures stand and its GPU context still lives."""

READY: Final = b"ready"
"""What a worker prints when it only waits for its turn."""

_TURN: Final = "--turn"
_ANSWER: Final = "out.json"
_ERRORS: Final = "stderr.txt"


class LocalExecutor:
    """Runs trials as child processes.

    A trial on a GPU has it for itself: other runs on this machine are waited for, other programs
    make it invalid (see `harness.run.executors.driver`).

    Args:
        command: what to start; the paths of the specification and of the answer are appended.
        grace_s: seconds between SIGTERM and SIGKILL for a trial past its deadline.
        notice: is told, in the calling thread, that a trial waits for another run to leave its
            GPU.
    """

    def __init__(
        self,
        command: Sequence[str] = WORKER,
        grace_s: float = 5.0,
        notice: Callable[[str], object] = lambda _: None,
    ) -> None:
        """See the class."""
        self._command = tuple(command)
        self._grace_s = grace_s
        self._notice = notice
        self._lock = threading.RLock()
        self._live: set[Child] = set()
        self._stopped = False

    def run(self, spec: TrialSpec, folder: Path, turn: Turn | None = None) -> Outcome:
        """See `harness.run.executors.Executor.run`; the calling thread must live until it returns.

        The files of the attempt are left in `folder`, whose former content is removed.

        Raises:
            StoreError: if `folder` cannot be written.
            TrialStopped: if `stop` was called before the trial ended.
        """
        _ask(spec, folder)
        if spec.cell.device == "cpu":
            return self._attempt(spec, folder, None, turn)
        with watching(spec, self._pause, self._notice) as watch:
            watch.begin(self._pause)
            if watch.foreign:
                return watch.judge(Outcome("invalid", watch.company, started=_now()))
            outcome = self._attempt(spec, folder, watch, None)
            watch.ended()
            return watch.judge(outcome)

    def stop(self) -> None:
        """See `harness.run.executors.Executor.stop`."""
        with self._lock:
            self._stopped = True
            for child in self._live:
                child.kill()

    def _pause(self, seconds: float) -> None:
        """Sleep before a trial, not during one.

        Raises:
            TrialStopped: if `stop` was called.
        """
        if self._stopped:
            raise TrialStopped
        time.sleep(seconds)

    def _attempt(
        self, spec: TrialSpec, folder: Path, watch: DeviceWatch | None, turn: Turn | None
    ) -> Outcome:
        kills, started, clock = oom_kills(), _now(), time.monotonic()
        environment = child_environment(spec, device=watch.uuid if watch else None)
        try:
            child = self._start(environment, folder, turn is not None)
        except OSError as error:
            return Outcome("crash", f"cannot start a process: {error}", started=started)
        talk = _Talk(child, spec.timeout_s, folder, watch, turn)
        code = talk.until_the_end()
        with self._lock:
            self._live.discard(child)
            if self._stopped:
                raise TrialStopped
        outcome = judge(
            code,
            folder / _ANSWER,
            child.log,
            late_s=spec.timeout_s if child.late else None,
            oom_killed=oom_kills() > kills,
        )
        return replace(
            outcome,
            started=started,
            seconds=round(time.monotonic() - clock - talk.waited_s, 3),
            facts=dict(outcome.facts) | ({"settings": pinned(environment)} if watch else {}),
        )

    def _start(self, environment: dict[str, str], folder: Path, in_turn: bool) -> Child:
        command = (*self._command, str(folder / "spec.json"), str(folder / _ANSWER))
        command += (_TURN,) if in_turn else ()
        with self._lock:
            if self._stopped:
                raise TrialStopped
            child = Child(command, folder / _ERRORS, environment, self._grace_s)
            self._live.add(child)
        return child


class _Talk:
    """What a trial's process and the parent tell each other.

    `waited_s` says how long the process slept until its turn, which counts neither for its deadline
    nor for its life.
    """

    def __init__(
        self,
        child: Child,
        timeout_s: float,
        folder: Path,
        watch: DeviceWatch | None,
        turn: Turn | None,
    ) -> None:
        """`watch` is told that the process has started, and later that its figures stand."""
        self.waited_s = 0.0
        self._child = child
        self._deadline = child.deadline(timeout_s)
        self._log = folder / "stdout.txt"
        self._watch = watch
        self._turn = turn
        if watch is not None:
            watch.started(child.pid)

    def until_the_end(self) -> int:
        """Hear the process out; its exit status."""
        ended = (lambda: None) if self._turn is None else self._turn.wake
        return self._child.run(self._deadline, self._hear, ended)

    def _hear(self, line: bytes) -> None:
        # A full disk must not break the pipe; the record will meet it again.
        with contextlib.suppress(OSError), self._log.open("ab") as file:
            file.write(line)
        if line.strip() == MEASURED:
            self._measure()
        elif line.strip() == READY and self._turn is not None:
            self._await(self._turn)

    def _measure(self) -> None:
        """Read the driver's figures while the process holds its memory, then let it go on."""
        try:
            if self._watch is not None:
                self._watch.measured(self._child.pid)
        finally:
            self._child.answer(b"\n")

    def _await(self, turn: Turn) -> None:
        """Let the process sleep until its turn."""
        self._deadline.pause()
        start = time.monotonic()
        turn.take(self._child.over)
        self.waited_s = time.monotonic() - start
        if not self._child.over.is_set():
            self._deadline.resume()
            self._child.answer(b"\n")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _ask(spec: TrialSpec, folder: Path) -> None:
    with _writing(folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / _ERRORS).touch()
        (folder / "spec.json").write_text(json.dumps(spec.to_json(), indent=1), encoding="utf-8")


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"cannot write {folder}: {error.strerror}; free some space, or choose another "
            "folder with --results"
        ) from error
