"""What `ratebp-bench gate` shows, and how it ends: with one of the exit codes, by name."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from harness.console import progress
from harness.console.plans import PlanProgress
from harness.errors import HarnessError
from harness.gate import exact as exact_tier
from harness.gate import files as written
from harness.gate import output
from harness.gate import time as time_tier
from harness.gate.files import Files
from harness.gate.verdict import Change, Exit, GateReport, worst
from harness.planning.client import Planner
from harness.run import scheduler

_LINES: Final = 40
"""Changes, and lines of the baseline, that a terminal gets."""

_COMMANDS: Final = 4

_STYLE: Final = {
    Exit.FINE: "green",
    Exit.REGRESSION: "red",
    Exit.HARNESS_ERROR: "red",
    Exit.REBASELINE_NEEDED: "yellow",
    Exit.INCONCLUSIVE: "yellow",
}


def exact(
    request: exact_tier.ExactRequest, console: Console, files: Files, jobs: int | None = None
) -> Exit:
    """Run the exact tier with its progress, and show what it found."""

    def work() -> GateReport:
        with PlanProgress(console) as listener, Planner(jobs) as planner:
            return exact_tier.run(request, planner, listener)

    return settle("exact", work, console, files)


def time(request: time_tier.TimeRequest, console: Console, files: Files) -> Exit:
    """Run the time tier with its progress, and show what it found."""

    def work() -> GateReport:
        listener = progress.make(console, scheduler.ALONE)
        try:
            return time_tier.run(request, listener)
        finally:
            listener.close()

    return settle("time", work, console, files)


def settle(tier: str, work: Callable[[], GateReport], console: Console, files: Files) -> Exit:
    """Do the work of a tier, show and write its report whatever comes of it; the exit code.

    Python ends with 1 after an exception that nobody catches, and 1 says "regression" here; so
    whatever goes wrong in the harness itself is caught, and is a harness error.
    """
    try:
        report = work()
    except HarnessError as error:
        report = _broken(tier, f"error: {error}")
    except Exception:
        report = _broken(tier, traceback.format_exc())
    for part in page(report):
        console.print(part, soft_wrap=isinstance(part, Text))
    try:
        written.write(report, files)
    except HarnessError as error:
        console.print(Text(f"error: {error}", "red"), soft_wrap=True)
        return worst([report.exit, Exit.HARNESS_ERROR])
    return report.exit


def page(report: GateReport) -> list[RenderableType]:
    """The changes, the lines to record, the commands, and the verdict at the end."""
    changes = output.ordered(report.changes)
    parts: list[RenderableType] = []
    for heading, lines in _grouped(changes[:_LINES]).items():
        parts += _group(heading, lines)
    if len(changes) > _LINES:
        parts.append(Text(f"and {len(changes) - _LINES} more changes; --json FILE has them all"))
    if report.rows:
        parts.append(Text(f"lines of the baseline that differ ({len(report.rows)}):"))
        parts += map(Text, output.few(report.rows, _LINES))
    parts += map(Text, report.notes)
    for command in output.few(output.commands(changes, "reproduce"), _COMMANDS):
        parts.append(Text(f"reproduce: {command}"))
    if report.accept and not report.accepted:
        parts.append(Text(f"accept, if intended: {report.accept}"))
    parts.append(Text(output.summary(report)))
    return [*parts, Text(output.title(report), _STYLE[report.exit])]


def _broken(tier: str, message: str) -> GateReport:
    note = message.rstrip()
    return GateReport(tier, "nothing was compared", notes=(note,), own=Exit.HARNESS_ERROR)


def _grouped(changes: Sequence[Change]) -> dict[str, dict[str, Change]]:
    """By heading and then by name: subjects head their figures, or one figure all its subjects."""
    one = len({change.quantity for change in changes}) == 1
    groups: dict[str, dict[str, Change]] = {}
    for each in changes:
        heading, name = each.subject, each.quantity
        if one:
            heading, name = name, heading
        groups.setdefault(heading, {})[name] = each
    return groups


def _group(heading: str, changes: Mapping[str, Change]) -> Iterator[RenderableType]:
    """A heading, a line for each change in words, a table of those in figures."""
    yield Text(heading, "bold")
    figures = {}
    for name, change in changes.items():
        if isinstance(change.before, str) or isinstance(change.after, str):
            yield _line(name, change)
        else:
            figures[name] = change
    if figures:
        yield _table(figures)


def _line(name: str, change: Change) -> Text:
    before, now = (output.shown(each, change.unit) for each in (change.before, change.after))
    word = Text(f"  {change.verdict}", _STYLE[change.verdict.exit])
    return word.append(f": {name}: {before or 'nothing'} -> {now or 'nothing'}", "none")


def _table(changes: Mapping[str, Change]) -> Table:
    """One row a change; the certainty only where it says more than that figures are exact."""
    certain = {change.certainty for change in changes.values()} != {"exact"}
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("verdict", no_wrap=True)
    table.add_column("what", overflow="fold")
    for name in ("before", "now", "change"):
        table.add_column(name, justify="right", no_wrap=True)
    if certain:
        table.add_column("certainty", overflow="fold")
    for name, each in changes.items():
        before, now = (output.shown(value, each.unit) for value in (each.before, each.after))
        words = [name, before, now, output.difference(each)]
        words += [each.certainty] if certain else []
        table.add_row(Text(str(each.verdict), _STYLE[each.verdict.exit]), *map(Text, words))
    return table
