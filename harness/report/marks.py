"""Traces that figures are made of, as plain dictionaries of Plotly's schema.

Dictionaries, not Plotly's classes: those check every property again and again, and a report of
2,000 trials would spend most of its time there. The tests have Plotly check what is drawn.

Every trace of a method carries the method's label as `meta`, every bar of a mixed trace as
`customdata`, so that the page can hide a method in all figures at once. A fitted law has a `uid`
that starts with "law:". Colours are those of the light theme; the page swaps them.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from harness.report.style import LIGHT, Look
from harness.results import stats
from harness.results.quantities import number

Trace = dict[str, Any]
Figure = dict[str, Any]
Looks = Mapping[str, Look]

FADED: Final = 0.35
"""Opacity of what is there but not what the figure is about."""


def plain(values: Iterable[Any]) -> list[Any]:
    """Python numbers of seven digits, None for what is absent."""
    return [None if value is None or value != value else float(f"{value:.7g}") for value in values]


def signs(method: str, look: Look, *, hollow: bool = False, size: int = 9) -> Trace:
    """What makes a trace of markers recognisable as a method's."""
    symbol = f"{look.symbol}-open" if hollow else look.symbol
    size += 2 if symbol.startswith(("triangle", "star", "hexagram")) else 0  # they fill less
    edge = {"color": look.colour if hollow else LIGHT["card"], "width": 2 if hollow else 1}
    return {
        "type": "scatter",
        "name": html.escape(method),
        "meta": method,
        "legendgroup": html.escape(method),
        "hoverinfo": "text",
        "marker": {"color": look.colour, "symbol": symbol, "size": size, "line": edge},
    }


def line(look: Look) -> Trace:
    """A method's line."""
    return {"color": look.colour, "dash": look.dash, "width": 2}


def bars(
    value: Sequence[float], low: Sequence[float], high: Sequence[float], look: Look
) -> dict[str, Any]:
    """Error bars from the ends of intervals; absent ends have no bar."""
    above = [_length(v, h) for v, h in zip(value, high, strict=True)]
    below = [_length(b, v) for v, b in zip(value, low, strict=True)]
    return {
        "type": "data",
        "symmetric": False,
        "array": plain(above),
        "arrayminus": plain(below),
        "visible": any(above) or any(below),
        "color": look.colour,
        "thickness": 1.2,
        "width": 4,
    }


def interval(value: float, low: float, high: float, unit: str) -> str:
    """`3.10 ms [3.00 – 3.20]`."""
    ends = f" [{number(low)} – {number(high)}]" if low < high else ""
    return f"{number(value)} {unit}{ends}"


def hover(method: str, T: Any, *lines: object) -> str:
    """Text that a pointer shows: the method, T, then what is said of it."""
    head = f"<b>{html.escape(method)}</b>" + (f", T = {T}" if T is not None else "")
    return "<br>".join([head, *(html.escape(str(line)) for line in lines if line)])


def basis(row: Mapping[str, Any], view: str) -> str:
    """What the interval of an estimate is."""
    if row["basis"] == "processes":
        processes = int(row["processes"])  # of few it is their range, and promises no level
        kind = "95 % bootstrap over" if processes >= stats.ENOUGH else "range of"
        return f"{kind} {processes} processes"
    if view == "ratio":
        return "one pair of processes"
    return {"samples": "interquartile range of one process's samples"}.get(
        row["basis"], "one sample"
    )


def lanes(lost: Iterable[tuple[str, float]]) -> dict[tuple[str, float], int]:
    """(method, position) -> lane, so that markers at one position stand above each other."""
    found: dict[tuple[str, float], int] = {}
    count: dict[float, int] = {}
    for method, position in sorted(lost, key=lambda key: (key[1], key[0])):
        found[method, position] = count.get(position, 0)
        count[position] = found[method, position] + 1
    return found


def _length(low: float, high: float) -> float:
    length = high - low
    return 0.0 if math.isnan(length) else max(length, 0.0)
