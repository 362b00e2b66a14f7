"""Executors run one trial somewhere and say how it ended. `local` is the one for this machine.

An executor blocks in `run` and may be called from several threads at once; who runs beside whom
is the runner's business. It never raises for what a trial does: a crash is an outcome.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from harness.outcome import Outcome
from harness.run.exclusive import Turn
from harness.spec import TrialSpec


class TrialStopped(Exception):  # noqa: N818 - not a fault: somebody asked for it
    """The trial was killed because the run is being given up; it has no outcome."""


class Executor(Protocol):
    """Runs trials."""

    def run(self, spec: TrialSpec, folder: Path, turn: Turn | None = None) -> Outcome:
        """Run one trial to its end; `folder` is for its files.

        With a `turn` the trial gets ready at once and waits for that before it measures.

        Raises:
            TrialStopped: if `stop` was called before it ended.
        """

    def stop(self) -> None:
        """Kill what runs and refuse what comes. May be called from a signal handler."""


def attempt(
    executor: Executor,
    spec: TrialSpec,
    folder: Path,
    unlucky: Callable[[Outcome], bool],
    turn: Turn | None = None,
) -> tuple[Outcome, int]:
    """Run a trial, and once more if its end may be bad luck; the outcome and how often it ran.

    Raises:
        TrialStopped: as `Executor.run` does.
    """
    outcome = executor.run(spec, folder, turn)
    if not unlucky(outcome):
        return outcome, 1
    return executor.run(spec, folder, turn), 2
