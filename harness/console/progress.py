"""Progress of a run: a bar on a terminal, one line a trial elsewhere, both with an estimate.

Both are listeners of `harness.run.scheduler`, called in the main thread.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from harness.outcome import Outcome
from harness.spec import LATER, TrialSpec

_REFRESH_HZ: Final = 1.0
"""Redraws a second: seldom, because the parent shares the machine with what it times."""


class TimeLeft:
    """Seconds left, from the mean of finished trials of the same probe."""

    def __init__(self, todo: Collection[TrialSpec], jobs: int, alone: Collection[str]) -> None:
        """`alone` names the probes whose trials never run side by side."""
        self._left = Counter(spec.probe for spec in todo)
        self._seen: dict[str, list[float]] = {}
        self._jobs = jobs
        self._alone = alone

    def finished(self, spec: TrialSpec, seconds: float) -> None:
        """Learn from one trial."""
        self._left[spec.probe] -= 1
        self._seen.setdefault(spec.probe, []).append(seconds)

    def seconds(self) -> float | None:
        """Seconds until the end; None before the first trial has finished."""
        everything = [seconds for seen in self._seen.values() for seconds in seen]
        if not everything:
            return None
        total = 0.0
        for probe, left in self._left.items():
            seen = self._seen.get(probe, everything)
            total += left * sum(seen) / len(seen) / (1 if probe in self._alone else self._jobs)
        return total


class PlainProgress:
    """One line a trial, for logs and pipes."""

    def __init__(self, console: Console, alone: Collection[str] = ()) -> None:
        """Write to a console; `alone` as in `TimeLeft`."""
        self._console = console
        self._alone = alone
        self._done = 0
        self._count = 0
        self._estimate = TimeLeft((), 1, alone)

    def planned(self, todo: Sequence[TrialSpec], total: int, jobs: int) -> None:
        """See `harness.run.scheduler.RunListener`."""
        self._done, self._count = 0, len(todo)
        self._estimate = TimeLeft(todo, jobs, self._alone)
        self._say(plan(len(todo), total, jobs))

    def finished(self, spec: TrialSpec, outcome: Outcome) -> None:
        """See `harness.run.scheduler.RunListener`."""
        self._done += 1
        self._estimate.finished(spec, outcome.seconds)
        self._say(f"[{self._done}/{self._count}] {line(spec, outcome)}{self._rest()}")

    def notice(self, text: str) -> None:
        """See `harness.run.scheduler.RunListener`."""
        self._say(f"note: {text}")

    def close(self) -> None:
        """Nothing to put away."""

    def _rest(self) -> str:
        left = self._estimate.seconds()
        return f", {duration(left)} left" if left and self._done < self._count else ""

    def _say(self, text: str) -> None:
        say(self._console, text)


class BarProgress:
    """A bar with elapsed and estimated time; only what did not end well gets a line."""

    def __init__(self, console: Console, alone: Collection[str] = ()) -> None:
        """Draw on a terminal; `alone` as in `TimeLeft`."""
        self._alone = alone
        self._estimate = TimeLeft((), 1, alone)
        self._bar = bar(console)
        self._task = self._bar.add_task("trials", total=None, start=False, left="")

    def planned(self, todo: Sequence[TrialSpec], total: int, jobs: int) -> None:
        """See `harness.run.scheduler.RunListener`."""
        self._estimate = TimeLeft(todo, jobs, self._alone)
        self._bar.console.print(escape(plan(len(todo), total, jobs)), highlight=False)
        self._bar.update(self._task, total=len(todo), completed=0)
        self._bar.start_task(self._task)
        self._bar.start()

    def finished(self, spec: TrialSpec, outcome: Outcome) -> None:
        """See `harness.run.scheduler.RunListener`."""
        self._estimate.finished(spec, outcome.seconds)
        left = self._estimate.seconds()
        self._bar.update(
            self._task,
            advance=1,
            description=escape(spec.cell.method.name),
            left=f"{duration(left)} left" if left else "",
        )
        if outcome.status != "ok":
            self._bar.console.print(escape(line(spec, outcome)), highlight=False)

    def notice(self, text: str) -> None:
        """See `harness.run.scheduler.RunListener`."""
        self._bar.console.print(f"note: {escape(text)}", highlight=False)

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._bar.stop()


def bar(console: Console) -> Progress:
    """A bar with elapsed time, and the field `left`."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        console=console,
        refresh_per_second=_REFRESH_HZ,
    )


def say(console: Console, text: str) -> None:
    """One line, as it is."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def make(console: Console, alone: Collection[str] = ()) -> PlainProgress | BarProgress:
    """The bar on a terminal, lines elsewhere."""
    return BarProgress(console, alone) if console.is_terminal else PlainProgress(console, alone)


def plan(todo: int, total: int, jobs: int) -> str:
    """What is about to happen."""
    kept = f" ({total - todo} of {total} are there already)" if todo < total else ""
    parallel = f", up to {jobs} side by side where timing allows" if jobs > 1 and todo else ""
    return f"{todo} trial{'' if todo == 1 else 's'} to measure{kept}{parallel}"


def line(spec: TrialSpec, outcome: Outcome) -> str:
    """One trial in one line: what, how it ended, how long it took, and why."""
    cell = spec.cell
    how = [value for axis, usual in LATER.items() if (value := getattr(cell, axis)) != usual]
    size = f"T={cell.T} B={cell.batch}"
    words = " ".join([cell.method.label, cell.model.label, size, *how, spec.probe])
    reason = f" ({headline(outcome.error)})" if outcome.error else ""
    return f"{words} {outcome.status} {outcome.seconds:.1f} s{reason}"


def headline(error: str) -> str:
    """An error in one line: its first, and after a colon its last, which names the exception.

    After a signal the last line is the outermost frame of the fault handler, and says nothing.
    """
    lines = error.strip().splitlines() or ["no message"]
    first, last = lines[0], lines[-1].strip()
    if first.lstrip().startswith(("Traceback", "File ")):  # a long one has lost its beginning
        return last
    if first.startswith("killed by") or not first.endswith(":"):
        return first.removesuffix(":")
    return f"{first} {last}"


def duration(seconds: float) -> str:
    """`12 s`, `3 min 20 s` or `2 h 5 min`."""
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
