"""A process that the parent starts, feeds, times out, kills with its whole group, and reaps.

Trials, planners, the catalogue and the checks of methods all run in one of these. The thread that
waits for a child sleeps in `waitpid`, a second one reads its output and a timer holds its deadline.
Nothing polls, so nothing disturbs a timing.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Final, Self

_LAUNCH: Final = (sys.executable, "-I", "-S", str(Path(__file__).with_name("launch.py")))
_DRAIN_S: Final = 5.0
_TAIL_LINES: Final = 12
_TAIL_BYTES: Final = 4000


class Deadline:
    """Calls `act` when its seconds have run out; it can stand still in between.

    Safe to use from several threads.
    """

    def __init__(self, seconds: float, act: Callable[[], object]) -> None:
        """Paused so far; `act` is called in a thread of its own."""
        self._left = seconds
        self._act = act
        self._since: float | None = None
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()

    def resume(self) -> None:
        """Let the seconds run."""
        with self._lock:
            self._since = time.monotonic()
            self._timer = threading.Timer(max(self._left, 0), self._act)
            self._timer.daemon = True
            self._timer.start()

    def pause(self) -> None:
        """Let the seconds stand still; nothing if they do."""
        with self._lock:
            if self._timer is not None and self._since is not None:
                self._timer.cancel()
                self._left -= time.monotonic() - self._since
                self._timer = None

    def __enter__(self) -> Self:
        """Let the seconds run."""
        self.resume()
        return self

    def __exit__(self, *_: object) -> None:
        """Let them stand still."""
        self.pause()


class Child:
    """One process with a session and a group of its own.

    It ends with its parent, however that ends: the kernel kills it when the thread that started it
    is gone. So that thread must live as long as the child. `kill` may be called from any thread.

    Args:
        command: what to start.
        log: file for its standard error.
        environment: its variables; those of the parent if None.
        grace_s: seconds between SIGTERM and SIGKILL for a child past a deadline.

    Attributes:
        pid: of the process and of its group.
        late: whether it was killed for a deadline.
        over: set once it has ended.

    Raises:
        OSError: if the log cannot be opened, or no process be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
        grace_s: float = 0.0,
    ) -> None:
        """Start it."""
        self.late = False
        self.log = log
        self.over = threading.Event()
        self._grace_s = grace_s
        self._reader: threading.Thread | None = None
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [*_LAUNCH, str(os.getpid()), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                start_new_session=True,  # Ctrl-C is the parent's to handle
            )
        self.pid = self._process.pid
        self._input: IO[bytes] = self._process.stdin  # type: ignore[assignment]
        self._output: IO[bytes] = self._process.stdout  # type: ignore[assignment]

    def __enter__(self) -> Self:
        """Return the child itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it, if it has not ended."""
        self.end()

    def deadline(self, seconds: float) -> Deadline:
        """A deadline of this child, which stands still until it is resumed."""
        return Deadline(seconds, self._expire)

    def run(
        self,
        deadline: Deadline,
        heard: Callable[[bytes], object],
        ended: Callable[[], object] = lambda: None,
    ) -> int:
        """Sleep until the process has ended, kill what is left of its group; its exit status.

        Args:
            deadline: runs from now on.
            heard: is told each line that it prints, in a thread of its own.
            ended: is called as soon as the process has ended, before the last lines are read.
        """
        self._reader = reader = threading.Thread(target=self._read, args=[heard], daemon=True)
        deadline.resume()
        reader.start()
        self._process.wait()
        self.over.set()
        ended()
        deadline.pause()
        self._signal(signal.SIGKILL)
        # A descendant that made a session of its own may hold the pipe; do not wait for it.
        reader.join(_DRAIN_S)
        self.answer(b"")
        return self._process.returncode

    def ask(self, question: str, timeout_s: float | None = None) -> str:
        """Write a line and read one: without its end, or empty, if the process has ended instead.

        A child past `timeout_s` seconds is killed.
        """
        with self.deadline(timeout_s) if timeout_s is not None else contextlib.nullcontext():
            with contextlib.suppress(OSError, ValueError):
                self._input.write(question.encode() + b"\n")
                self._input.flush()
            return self._output.readline().decode("utf-8", "replace")

    def answer(self, text: bytes) -> None:
        """Write the last that the process will read, and close its input."""
        with contextlib.suppress(OSError, ValueError):
            self._input.write(text)
        with contextlib.suppress(OSError):
            self._input.close()

    def kill(self) -> None:
        """Kill the process and its descendants, unless it has ended."""
        if not self.over.is_set():
            self._signal(signal.SIGKILL)

    def end(self, grace_s: float = 0.0) -> int:
        """Kill the group unless it ends by itself, put its pipes away; the exit status."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(grace_s)
        self.kill()
        code = self._process.wait()
        self.over.set()
        self.answer(b"")
        if self._reader is None:  # who reads also closes
            self._output.close()
        return code

    def _read(self, heard: Callable[[bytes], object]) -> None:
        with self._output:
            for line in self._output:
                heard(line)

    def _expire(self) -> None:
        if self.over.is_set():
            return
        self.late = True
        self._signal(signal.SIGTERM)
        if not self.over.wait(self._grace_s):
            self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)


def cause(code: int, log: Path) -> str:
    """How a process ended, with its last words: `killed by SIGSEGV:` and lines of its log."""
    how = f"exit code {code}" if code >= 0 else f"killed by {_signal_name(-code)}"
    return f"{how}{tail(log)}"


def tail(log: Path) -> str:
    """The last lines of a file, after a colon; nothing if there are none."""
    lines = last_words(log)
    return f":\n{lines}" if lines else ""


def last_words(log: Path) -> str:
    """The last lines of a file; nothing if it cannot be read."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-_TAIL_LINES:])


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
