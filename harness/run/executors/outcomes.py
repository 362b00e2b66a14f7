"""What the end of a trial process means: its outcome, from the exit status and its answer."""

from __future__ import annotations

import signal
from pathlib import Path

from harness.machine.child import cause, tail
from harness.machine.environment import memory_groups
from harness.outcome import UNREADABLE, Outcome


def judge(code: int, answer: Path, log: Path, *, late_s: float | None, oom_killed: bool) -> Outcome:
    """Decide how a trial ended; when and how long is for the caller to add.

    Args:
        code: the exit status as `subprocess` gives it: negative for a signal.
        answer, log: the worker's JSON answer (may be absent) and what it printed on standard
            error.
        late_s: the deadline in seconds if the trial was killed for it, else None.
        oom_killed: whether the kernel's count of out-of-memory kills went up meanwhile.
    """
    if late_s is not None:
        return Outcome("timeout", f"no result after {late_s:g} s{tail(log)}")
    if code == -signal.SIGKILL and oom_killed:
        return Outcome("oom_host", "killed by the kernel: out of memory")
    if code != 0:
        return Outcome("crash", cause(code, log))
    try:
        return Outcome.from_text(answer.read_text(encoding="utf-8"))
    except UNREADABLE as error:
        text = f"the worker left no valid answer: {type(error).__name__}: {error}{tail(log)}"
        return Outcome("crash", text)


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
