"""One fresh process a trial on this machine, in a process group of its own, with a deadline.

The thread that calls `run` sleeps in `waitpid`; a second one reads the trial's output and a timer
holds the deadline. Nothing polls, so nothing disturbs a timing.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

from harness.errors import StoreError
from harness.machine import start
from harness.run.exclusive import Turn
from harness.run.executors import Outcome, TrialStopped
from harness.run.executors.deadline import Deadline
from harness.run.executors.driver import Watch, watching
from harness.run.executors.outcomes import judge, oom_kills
from harness.run.executors.settings import child_environment, pinned
from harness.spec import TrialSpec

WORKER: Final = start.command("harness.trial.worker")
MEASURED: Final = b"measured"
"""What a worker prints when its figures stand and its GPU context still lives."""

READY: Final = b"ready"
"""What a worker prints when it only waits for its turn."""

_TURN: Final = "--turn"
_LAUNCH: Final = (sys.executable, "-I", "-S", str(Path(__file__).with_name("launch.py")))
_DRAIN_S: Final = 5.0


class LocalExecutor:
    """Runs trials as child processes.

    A trial on a GPU has it for itself: other runs on this machine are waited for, other programs
    make it invalid (see `harness.run.executors.driver`).

    Parameters
    ----------
    command:
        What to start; the paths of the specification and of the answer are appended.
    grace_s:
        Seconds between SIGTERM and SIGKILL for a trial past its deadline.
    notice:
        Is told, in the calling thread, that a trial waits for another run to leave its GPU.
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
        self._live: set[_Child] = set()
        self._stopped = False

    def run(self, spec: TrialSpec, folder: Path, turn: Turn | None = None) -> Outcome:
        """See `harness.run.executors.Executor.run`; the calling thread must live until it returns.

        The files of the attempt are left in `folder`, whose former content is removed.

        Raises
        ------
        StoreError
            If `folder` cannot be written.
        TrialStopped
            If `stop` was called before the trial ended.
        """
        _ask(spec, folder)
        if spec.cell.device == "cpu":
            return self._attempt(spec, folder, None, turn)
        with watching(spec, self._pause, self._notice) as watch:
            watch.begin(self._pause)
            if watch.foreign:
                refused = Outcome("invalid", watch.company, _iso(datetime.now(UTC)), 0.0)
                return watch.judge(refused)
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

        Raises
        ------
        TrialStopped
            If `stop` was called.
        """
        if self._stopped:
            raise TrialStopped
        time.sleep(seconds)

    def _attempt(
        self, spec: TrialSpec, folder: Path, watch: Watch | None, turn: Turn | None
    ) -> Outcome:
        kills, started, clock = oom_kills(), datetime.now(UTC), time.monotonic()
        environment = child_environment(spec, device=watch.uuid if watch else None)
        try:
            child = self._start(environment, folder, watch, turn)
        except OSError as error:
            return Outcome("crash", f"cannot start a process: {error}", _iso(started), 0.0)
        child.wait(spec.timeout_s, self._grace_s)
        with self._lock:
            self._live.discard(child)
            if self._stopped:
                raise TrialStopped
        verdict = judge(
            child.returncode,
            folder / "out.json",
            folder / "stderr.txt",
            late_s=spec.timeout_s if child.late else None,
            oom_killed=oom_kills() > kills,
        )
        return Outcome(
            verdict.status,
            verdict.error,
            _iso(started),
            round(time.monotonic() - clock - child.waited_s, 3),
            verdict.rows,
            dict(verdict.facts) | ({"settings": pinned(environment)} if watch else {}),
        )

    def _start(
        self, environment: dict[str, str], folder: Path, watch: Watch | None, turn: Turn | None
    ) -> _Child:
        command = (*self._command, str(folder / "spec.json"), str(folder / "out.json"))
        command += () if turn is None else (_TURN,)
        with self._lock:
            if self._stopped:
                raise TrialStopped
            child = _Child(command, environment, folder, watch, turn)
            self._live.add(child)
        return child


class _Child:
    """A trial's process and its group.

    `watch` is told when it has started and when its figures stand; `late` says whether it was
    killed for its deadline; `waited_s` how long it slept until its turn, which counts for neither.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: dict[str, str],
        folder: Path,
        watch: Watch | None,
        turn: Turn | None,
    ) -> None:
        self.late = False
        self.waited_s = 0.0
        self._watch = watch
        self._turn = turn
        self._folder = folder
        self._over = threading.Event()
        with _writing(folder):
            errors = (folder / "stderr.txt").open("wb")
        with errors:
            self._process = subprocess.Popen(
                [*_LAUNCH, str(os.getpid()), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                start_new_session=True,
            )
        if watch is not None:
            watch.started(self._process.pid)

    @property
    def returncode(self) -> int:
        """Exit status, negative for a signal; only after `wait`."""
        return int(self._process.returncode)

    def wait(self, timeout_s: float, grace_s: float) -> None:
        """Sleep until the process has ended, kill what is left of its group, drain its output."""
        deadline = Deadline(timeout_s, lambda: self._end(grace_s))
        reader = threading.Thread(target=self._read, args=[deadline], daemon=True)
        deadline.resume()
        reader.start()
        self._process.wait()
        self._over.set()
        if self._turn is not None:
            self._turn.wake()
        deadline.pause()
        self._signal(signal.SIGKILL)
        # A descendant that made a session of its own may hold the pipe; do not wait for it.
        reader.join(_DRAIN_S)
        self._answer(b"")

    def kill(self) -> None:
        """Kill the process and its descendants, unless it has ended."""
        if not self._over.is_set():
            self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _end(self, grace_s: float) -> None:
        if self._over.is_set():
            return
        self.late = True
        self._signal(signal.SIGTERM)
        if not self._over.wait(grace_s):
            self._signal(signal.SIGKILL)

    def _read(self, deadline: Deadline) -> None:
        output: IO[bytes] = self._process.stdout  # type: ignore[assignment]
        log = self._folder / "stdout.txt"
        with output:
            for line in output:
                # A full disk must not break the pipe; the record will meet it again.
                with contextlib.suppress(OSError), log.open("ab") as file:
                    file.write(line)
                if line.strip() == MEASURED:
                    self._measure()
                elif line.strip() == READY and self._turn is not None:
                    self._await(self._turn, deadline)

    def _measure(self) -> None:
        """Read the driver's figures while the process holds its memory, then let it go on."""
        try:
            if self._watch is not None:
                self._watch.measured(self._process.pid)
        finally:
            self._answer(b"\n")

    def _await(self, turn: Turn, deadline: Deadline) -> None:
        """Let the process sleep until its turn."""
        deadline.pause()
        start = time.monotonic()
        turn.take(self._over)
        self.waited_s = time.monotonic() - start
        if not self._over.is_set():
            deadline.resume()
            self._answer(b"\n")

    def _answer(self, text: bytes) -> None:
        """Write the last that the process will read, and close its input."""
        pipe: IO[bytes] = self._process.stdin  # type: ignore[assignment]
        with contextlib.suppress(OSError, ValueError):
            pipe.write(text)
        with contextlib.suppress(OSError):
            pipe.close()


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")


def _ask(spec: TrialSpec, folder: Path) -> None:
    with _writing(folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
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
