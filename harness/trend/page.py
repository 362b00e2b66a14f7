"""The history as one offline page: what moved and since when, and every series as a small line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from harness.report import shell
from harness.report.markup import block, escape, still_table
from harness.results.quantities import number
from harness.trend.history import Series
from harness.trend.moves import SeriesStep

HEADS: Final = {
    "cell": "text", "metric": "text", "first": "number", "last": "number", "runs": "number",
    "line": "text",
}  # fmt: skip
WIDTH, HEIGHT = 160, 28
_EDGE: Final = 4


def render(history: Sequence[Series], moved: Sequence[SeriesStep]) -> str:
    """The whole document; series that moved come first. It has no script and asks for nothing."""
    by_series: dict[int, list[SeriesStep]] = {}
    for move in moved:
        by_series.setdefault(id(move.series), []).append(move)
    ordered = sorted(history, key=lambda series: id(series) not in by_series)
    runs = sorted({date for series in history for date in series.dates})
    ends = f", {runs[0]} to {runs[-1]}" if runs else ""
    summary = f"{len(history)} series of {len(runs)} runs{ends}; {len(moved)} steps"
    rows = (_row(series, by_series.get(id(series), ())) for series in ordered)
    cards = _steps(moved) + shell.card("Every series", still_table("Every series", HEADS, rows))
    return shell.plain("Trend", shell.header("Trend", summary), cards)


def line(series: Series, moved: Sequence[SeriesStep]) -> str:
    """A series from its first to its last run, on a log scale; a mark at each step."""
    low, high = min(series.values), max(series.values)
    scale = math.log if low > 0 else float
    least, span = scale(low), (scale(high) - scale(low)) or 1.0
    across = (WIDTH - 2 * _EDGE) / max(len(series.values) - 1, 1)
    points = [
        (
            round(_EDGE + across * place, 1),
            round(HEIGHT - _EDGE - (HEIGHT - 2 * _EDGE) * (scale(value) - least) / span, 1),
        )
        for place, value in enumerate(series.values)
    ]
    if low == high:
        points = [(x, HEIGHT / 2) for x, _ in points]
    path = "M" + "L".join(f"{x} {y}" for x, y in points)
    steps = "".join(
        f'<path class="step" d="M{points[move.step.at][0]} {_EDGE}V{HEIGHT - _EDGE}"/>'
        for move in moved
    )
    text = f"{number(series.values[0])} to {number(series.values[-1])} {series.unit}"
    return (
        f'<svg class="line" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(text)}">'
        f'{steps}<path d="{path}"/><circle cx="{points[-1][0]}" cy="{points[-1][1]}" r="3"/></svg>'
    )


def _steps(moved: Sequence[SeriesStep]) -> str:
    items = "".join(
        f"<li><b>{escape(move.series.cell)}</b>, {escape(move.series.metric)}: "
        f"{escape(move.words)}{block(move.commits)}</li>"
        for move in moved
    )
    body = f"<ul>{items}</ul>" if items else "<p>No series has moved for good.</p>"
    return shell.card("Steps", body)


def _row(series: Series, moved: Sequence[SeriesStep]) -> str:
    metric = f"{series.metric} {series.phase} ({series.unit})"
    ends = [f'<td class="number">{number(series.values[place])}</td>' for place in (0, -1)]
    return (
        f'<tr><th scope="row">{escape(series.cell)}</th><td class="text">{escape(metric)}</td>'
        f'{"".join(ends)}<td class="number">{len(series.values)}</td>'
        f"<td>{line(series, moved)}</td></tr>"
    )
