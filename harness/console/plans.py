"""What `ratebp-bench plan` and `frontier` show: progress meanwhile, tables at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final, Self

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from harness.console.progress import bar, duration, headline, say
from harness.outcome import Outcome
from harness.planning.client import weight
from harness.planning.commands import Frontiers
from harness.planning.frontier import Limit, Line
from harness.planning.plan import Planned
from harness.spec import LATER, Cell

_NAMES: Final = {"model": 12}
"""Columns that keep a width at which a name can be read, however many figures there are."""

_LINES: Final = 20
"""How many lines a log of progress gets at most, failures aside."""

_Figure = tuple[str, Callable[[Outcome], int], float]
_FIGURES: Final[tuple[_Figure, ...]] = (
    ("live peak\nMiB", lambda p: p.figure("mem.live_peak"), 2**20),
    ("stored\nMiB", lambda p: p.figure("mem.live_after_forward", "forward"), 2**20),
    ("persist.\nMiB", lambda p: p.figure("mem.persistent"), 2**20),
    ("total\nMiB", lambda p: p.demand, 2**20),
    ("trace\nMiB", lambda p: p.figure("mem.trace", "forward"), 2**20),
    ("GFLOP", lambda p: p.figure("ops.flops"), 1e9),
    ("elem.\nGB", lambda p: p.figure("ops.elem_bytes"), 1e9),
    ("ops", lambda p: p.figure("ops.count"), 1),
)
_PLAN_COLUMNS: Final = ("T", "batch", *(figure[0] for figure in _FIGURES))
_PLAN_LEGEND: Final = (
    "Exact figures of one training step, as dispatched on a CPU. total = persistent + live peak; "
    "stored = between forward and backward; trace = forward less plain forward; elem. = read and "
    "written by element-wise operators"
)
_FRONTIER_LEGEND: Final = (
    "plain: it fits and one more does not, both counted exactly; ~: by the affine law that smaller "
    "T obey exactly; >: the search ended there, and it fits; 0: not even 1 fits"
)


class _CountingProgress:
    """A bar on a terminal, some lines elsewhere, both with an estimate of what is left."""

    _WHAT = "cell"
    _VERB = "count"

    def __init__(self, console: Console) -> None:
        """Write to a console."""
        self._console = console
        self._bar = bar(console)
        self._task = self._bar.add_task(f"{self._VERB}ing", total=None, left="")
        self._clock = time.monotonic()
        self._total = self._left = self._count = self._done = 0

    def __enter__(self) -> Self:
        """Return the listener itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the terminal as it was."""
        if self._console.is_terminal:
            self._bar.stop()

    def _begin(self, count: int, total: int, jobs: int) -> None:
        """There are `count` things to do, which are `total` of the unit that takes time."""
        self._total, self._left, self._count = total, total, count
        self._clock = time.monotonic()
        what = f"{_many(count, self._WHAT)} to {self._VERB}"
        say(self._console, f"{what} on {_many(jobs, 'core')}")
        self._bar.update(self._task, total=count)
        if self._console.is_terminal:
            self._bar.start()

    def _advance(self, weight: int, name: str = "", every: int = 1) -> None:
        """One more is done; without a terminal each `every`-th gets a line."""
        self._done += 1
        self._left -= weight
        elapsed = time.monotonic() - self._clock
        seconds = elapsed * self._left / (self._total - self._left)
        rest = f"{duration(seconds)} left" if self._left else ""
        self._bar.update(self._task, advance=1, left=rest)
        if not self._console.is_terminal and self._done % every == 0:
            say(self._console, f"[{self._done}/{self._count}] {name}{rest}".rstrip())


class PlanProgress(_CountingProgress):
    """Tells how the count of cells goes on; those that fail get a line each."""

    def planned(self, cells: Sequence[Cell], jobs: int) -> None:
        """See `harness.planning.plan.PlanListener`."""
        self._begin(len(cells), sum(map(weight, cells)), jobs)

    def finished(self, cell: Cell, prediction: Outcome) -> None:
        """See `harness.planning.plan.PlanListener`."""
        if prediction.status not in ("ok", "skipped"):
            name = f"{cell.method.label} {cell.model.label} T={cell.T} B={cell.batch}"
            say(self._console, f"{prediction.status}: {name}: {headline(prediction.error or '')}")
        self._advance(weight(cell), every=max(1, self._count // _LINES))


class SearchProgress(_CountingProgress):
    """Tells how the search along the lines of a frontier goes on."""

    _WHAT = "line"
    _VERB = "search"

    def planned(self, lines: Sequence[Line], jobs: int) -> None:
        """See `harness.planning.commands.FrontierListener`."""
        self._begin(len(lines), len(lines), jobs)

    def finished(self, limits: Sequence[Limit]) -> None:
        """See `harness.planning.commands.FrontierListener`."""
        line = limits[0].line
        self._advance(1, f"{line.cell.method.label} {line.cell.model.label} {line.axis} ")


def plan(planned: Sequence[Planned]) -> list[RenderableType]:
    """A table for each data set: one row a cell with its figures, or the reason why it has none."""
    reasons: dict[str, int] = {}
    tables: dict[str, Table] = {}
    for each in planned:
        cell, told = each.cell, each.prediction
        title = _title(each.data, cell)
        if title not in tables:
            tables[title] = _table(title, "method", "model", right=_PLAN_COLUMNS)
        if told.status == "ok":
            figures = [_shown(get(told) / unit) for _, get, unit in _FIGURES]
        else:
            reason = f"{told.status}: {headline(told.error or '')}"
            figures = [f"{told.status} [{reasons.setdefault(reason, len(reasons) + 1)}]"]
        names = (cell.method.label, cell.model.label, cell.T, cell.batch)
        tables[title].add_row(*(Text(str(word)) for word in (*names, *figures)))
    notes = [Text(f"[{number}] {reason}") for reason, number in reasons.items()]
    return [*tables.values(), *notes, Text(_PLAN_LEGEND)]


def frontier(found: Frontiers) -> list[RenderableType]:
    """A table for each data set: one row a line, one column a card, signs for how it is known."""
    tables: dict[str, Table] = {}
    remarks: dict[str, None] = {}
    by_line: dict[Line, list[Limit]] = {}
    for limit in found.limits:
        by_line.setdefault(limit.line, []).append(limit)
    for line, limits in by_line.items():
        cell = line.cell
        title = _title(found.data[cell.data], cell)
        if title not in tables:
            names = [card.name for card in found.cards]
            tables[title] = _table(title, "method", "model", "largest", right=names)
        given = f"T at batch {cell.batch}" if line.axis == "T" else f"batch at T {cell.T}"
        words = (cell.method.label, cell.model.label, given, *map(_reached, limits))
        tables[title].add_row(*map(Text, words))
        said = (remark for limit in limits if (remark := _remark(limit)))
        remarks |= {f"{cell.method.label} {cell.model.label}, {given}: {one}": None for one in said}
    texts = (*remarks, _FRONTIER_LEGEND, found.allowance.words)
    return [*tables.values(), *map(Text, texts)]


def _title(data: str, cell: Cell) -> str:
    """What all cells of a table share; which operators are counted is always said."""
    how = {axis: str(getattr(cell, axis)) for axis in LATER}
    unusual = [axis for axis in LATER if how[axis] != LATER[axis] or axis == "operators"]
    return ", ".join([data, cell.dtype, *(f"{axis} {how[axis]}" for axis in unusual)])


def _remark(limit: Limit) -> str | None:
    """What the reader of one limit must know beyond its signs."""
    if limit.reach is None:
        return f"{limit.status}: {headline(limit.error or '')}"
    if not limit.reach.rises:
        return "the counts do not rise all the way, so a larger one may fit as well"
    return "; ".join(limit.reach.notes) if limit.reach.basis == "stopped" else None


def _reached(limit: Limit) -> str:
    if limit.reach is None:
        return limit.status
    sign = "~" if limit.reach.basis == "law" else ""
    return f"{'>' if limit.reach.beyond else ''}{sign}{limit.reach.value}"


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _shown(value: float) -> str:
    """Three significant digits, but never fewer than the whole number has."""
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def _table(title: str, *left: str, right: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title=title, title_justify="left")
    for name in left:
        table.add_column(name, overflow="fold", min_width=_NAMES.get(name))
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    return table
