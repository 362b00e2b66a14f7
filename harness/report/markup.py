"""HTML pieces: tables, controls, glyphs. Everything that comes from data is escaped here."""

from __future__ import annotations

import html
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from harness.report.style import SYMBOLS, Look
from harness.report.tables import Command, Interval
from harness.results.estimates import records
from harness.results.quantities import number


def escape(text: object) -> str:
    """Text as HTML, fit for an attribute as well."""
    return html.escape(str(text), quote=True)


def script(name: str, value: str) -> str:
    """A JSON text as a data block that no markup in it can close."""
    safe = value.replace("<", "\\u003c")
    return f'<script type="application/json" id="{escape(name)}">{safe}</script>'


def glyph(look: Look) -> str:
    """The marker of a method as an inline picture; its colours follow the theme."""
    return (
        f'<svg class="glyph" style="--light:{look.colour};--dark:{look.dark}" viewBox="0 0 16 16" '
        f'aria-hidden="true"><path fill-rule="evenodd" d="{SYMBOLS[look.symbol]}"/></svg>'
    )


def select(panel: str, key: str, label: str, options: Sequence[tuple[str, str]]) -> str:
    """A labelled native select; the first option is chosen."""
    name = escape(f"{panel}-{key}")
    items = "".join(f'<option value="{escape(v)}">{escape(text)}</option>' for v, text in options)
    return (
        f'<label for="{name}">{escape(label)}</label>'
        f'<select id="{name}" data-control="{escape(key)}" autocomplete="off">{items}</select>'
    )


def buttons(key: str, label: str, options: Sequence[tuple[str, str]]) -> str:
    """A group of buttons of which one is pressed; the first at the start."""
    items = "".join(
        f'<button type="button" value="{escape(value)}" aria-pressed="{str(not i).lower()}">'
        f"{escape(text)}</button>"
        for i, (value, text) in enumerate(options)
    )
    return (
        f'<span class="choice" role="group" aria-label="{escape(label)}" '
        f'data-control="{escape(key)}">{items}</span>'
    )


def table(
    frame: pd.DataFrame,
    name: str,
    caption: str,
    looks: Mapping[str, Look],
    *,
    bars: Collection[str] = (),
) -> str:
    """A sortable table with a button that downloads it; rows of a method carry its label.

    Sorting and download use the full number in `data-value`; the text shows three digits. Columns
    named in `bars` get a bar behind each number, as long as its part of the column's greatest.
    """
    rows = [{head: _finite(value) for head, value in row.items()} for row in records(frame)]
    words = {head for head in frame.columns if not any(_is_number(row[head]) for row in rows)}
    heads = "".join(
        f'<th scope="col" class="{"text" if head in words else "number"}" aria-sort="none">'
        f'<button type="button">{escape(head)}</button></th>'
        for head in frame.columns
    )
    tops = {head: _top([row[head] for row in rows]) for head in bars}
    body = "".join(_row(row, looks, words, tops) for row in rows)
    return (
        f"{scroll(caption, heads, body)}"
        f'<button type="button" class="download" data-file="{escape(name)}.csv">'
        f"Download as CSV</button>"
    )


def still_table(caption: str, heads: Mapping[str, str], rows: Iterable[str]) -> str:
    """A table without controls; `heads` are its headings with the kind of each column."""
    row = "".join(f'<th scope="col" class="{kind}">{head}</th>' for head, kind in heads.items())
    return scroll(caption, row, "".join(rows))


def scroll(caption: str, heads: str, body: str) -> str:
    """A table of cells that are HTML already; it scrolls where it is too wide."""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f"<table><caption>{escape(caption)}</caption><thead><tr>{heads}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def block(lines: Sequence[str]) -> str:
    """Lines to copy, as they are; nothing if there are none."""
    text = escape("\n".join(lines))
    return f'<pre tabindex="0">{text}</pre>' if lines else ""


def facts(pairs: Sequence[tuple[str, object]]) -> str:
    """A definition list."""
    items = (f"<div><dt>{escape(key)}</dt><dd>{escape(value)}</dd></div>" for key, value in pairs)
    return f'<dl class="facts">{"".join(items)}</dl>'


def _row(
    row: Mapping[Any, Any], looks: Mapping[str, Look], words: set[Any], tops: Mapping[str, float]
) -> str:
    """One row; a text in a column of numbers says why there is no number."""
    method = str(row.get("method", ""))
    cells = []
    for head, value in row.items():
        if head == "method":
            mark = glyph(looks[method]) if method in looks else ""
            cells.append(f'<th scope="row">{mark}{escape(method)}</th>')
        elif isinstance(value, Command):
            cells.append(
                f'<td class="text" data-value="{escape(value.text)}">'
                f'<button type="button" class="copy">Copy</button></td>'
            )
        elif isinstance(value, str):
            cells.append(
                f'<td class="{"text" if head in words else "reason"}">{escape(value)}</td>'
            )
        else:
            cells.append(_number(value, tops.get(head)))
    return f'<tr data-method="{escape(method)}">{"".join(cells)}</tr>'


def _number(cell: Interval | float, top: float | None) -> str:
    """A number with its interval under it; `top` is what a full bar stands for."""
    whole = cell if isinstance(cell, Interval) else Interval(cell, math.nan, math.nan)
    value, low, high = whole.value, whole.low, whole.high
    if not math.isfinite(value):
        return '<td class="number" data-value="">–</td>'
    data, under = f'data-value="{value!r}"', ""
    if low < high:
        data += f' data-low="{float(low)!r}" data-high="{float(high)!r}"'
        under = f"<small>{number(low)} – {number(high)}</small>"
    if top:
        data += f' style="--part:{100 * value / top:.1f}%"'
    text = str(value) if isinstance(value, int) else number(value)
    return f'<td class="number{" bar" if top else ""}" {data}>{text}{under}</td>'


def _finite(value: Any) -> Any:
    """Absent values of any kind as NaN, numbers of NumPy as Python's."""
    if isinstance(value, np.generic):
        value = value.item()
    return math.nan if value is None else value


def _top(values: Sequence[Any]) -> float:
    """The greatest number of a column."""
    numbers = [v.value if isinstance(v, Interval) else v for v in values if _is_number(v)]
    return max((number for number in numbers if math.isfinite(number)), default=0.0)


def _is_number(value: Any) -> bool:
    return isinstance(value, (Interval, int, float))
