"""Executors run one trial somewhere and say how it ended. `local` is the one for this machine.

An executor blocks in `run` and may be called from several threads at once; who runs beside whom
is the runner's business. It never raises for what a trial does: a crash is an outcome.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from harness.rows import Row
from harness.run.exclusive import Turn
from harness.spec import TrialSpec


@dataclass(frozen=True)
class Outcome:
    """How one attempt at a trial ended.

    `status` is one of `harness.rows.STATUSES`; `error` says why it is not "ok"; `started` is an
    ISO 8601 time, `seconds` the life of the process.
    """

    status: str
    error: str | None
    started: str
    seconds: float
    rows: tuple[Row, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


class TrialStopped(Exception):  # noqa: N818 - not a fault: somebody asked for it
    """The trial was killed because the run is being given up; it has no outcome."""


class Executor(Protocol):
    """Runs trials."""

    def run(self, spec: TrialSpec, folder: Path, turn: Turn | None = None) -> Outcome:
        """Run one trial to its end; `folder` is for its files.

        With a `turn` the trial gets ready at once and waits for that before it measures.

        Raises
        ------
        TrialStopped
            If `stop` was called before it ended.
        """

    def stop(self) -> None:
        """Kill what runs and refuse what comes. May be called from a signal handler."""
