"""What the end of a trial process means: its outcome, from the exit status and its answer."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness.errors import RowError
from harness.machine.environment import memory_groups
from harness.rows import STATUSES, Row

_TAIL_LINES: Final = 12
_TAIL_BYTES: Final = 4000


@dataclass(frozen=True)
class Verdict:
    """Status and error of a trial, with the rows and facts of its answer where it has one."""

    status: str
    error: str | None
    rows: tuple[Row, ...] = ()
    facts: tuple[tuple[str, Any], ...] = ()


def judge(
    returncode: int, answer: Path, stderr: Path, *, late_s: float | None, oom_killed: bool
) -> Verdict:
    """Decide how a trial ended.

    Parameters
    ----------
    returncode:
        As `subprocess` gives it: negative for a signal.
    answer, stderr:
        The worker's JSON answer (may be absent) and what it printed on standard error.
    late_s:
        The deadline in seconds if the trial was killed for it, else None.
    oom_killed:
        Whether the kernel's count of out-of-memory kills went up meanwhile.
    """
    if late_s is not None:
        return Verdict("timeout", f"no result after {late_s:g} s{tail(stderr)}")
    if returncode == -signal.SIGKILL and oom_killed:
        return Verdict("oom_host", "killed by the kernel: out of memory")
    if returncode < 0:
        return Verdict("crash", f"killed by {_signal_name(-returncode)}{tail(stderr)}")
    if returncode > 0:
        return Verdict("crash", f"exit code {returncode}{tail(stderr)}")
    try:
        plain = json.loads(answer.read_text(encoding="utf-8"))
        if plain["status"] not in STATUSES:
            raise ValueError(f"status {plain['status']!r} is not one of {', '.join(STATUSES)}")
        rows = tuple(map(Row.from_json, plain["rows"]))
        return Verdict(plain["status"], plain["error"], rows, tuple(plain["facts"].items()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RowError) as error:
        text = f"the worker left no valid answer: {type(error).__name__}: {error}{tail(stderr)}"
        return Verdict("crash", text)


def tail(stderr: Path) -> str:
    """The last lines of a file, after a colon; nothing if there are none."""
    try:
        with stderr.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return ""
    return ":\n" + "\n".join(lines[-_TAIL_LINES:]) if lines else ""


def oom_kills(root: Path = Path("/")) -> int:
    """How often the kernel has killed for lack of memory, as far as this process can see.

    From the control group (version 2, then 1), else from the whole machine; 0 where neither tells.
    """
    groups = memory_groups(root)
    names = ("memory.events", "memory.oom_control")
    files = [group / name for group in groups for name in names]
    counts = (_counter(file) for file in (*files, root / "proc/vmstat"))
    return next((count for count in counts if count is not None), 0)


def _counter(file: Path) -> int | None:
    try:
        pairs = (line.split() for line in file.read_text().splitlines())
        return next((int(pair[1]) for pair in pairs if pair[0] == "oom_kill"), None)
    except (OSError, ValueError, IndexError):
        return None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
