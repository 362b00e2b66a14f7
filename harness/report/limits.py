"""The panel of the frontier: the largest T or batch that fits a card, from a file in the run.

`ratebp-bench frontier --out RUN/frontier.json` (or .csv) has searched them.
"""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd

from harness.report import axes, marks
from harness.report.estimates import Group
from harness.report.marks import Figure, Looks, Trace
from harness.report.parts import Panel, PanelControl, Variant
from harness.results.quantities import words

NOTE = (
    "From the exact count of tensor bytes and an allowance for what allocators and the CUDA "
    "context take on top; found by search, nothing was run. An open marker: more would fit than "
    "was searched."
)
PATTERNS: Final = ("frontier*.json", "frontier*.csv")
NEEDED: Final = {"method", "model", "dtype", "axis", "T", "batch", "card", "status", "value"}

Limit = dict[str, Any]


def read(folder: Path) -> list[Limit]:
    """The limits of every frontier file in the folder; a file that is none is left alone."""
    found: list[Limit] = []
    for path in sorted(path for pattern in PATTERNS for path in folder.glob(pattern)):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            text = path.read_text(encoding="utf-8")
            if path.suffix == ".json":
                rows = list(json.loads(text)["limits"])
            else:
                rows = list(csv.DictReader(text.splitlines()))
            found += [_plain(row) for row in rows if row.keys() >= NEEDED]
    return found


def panel(group: Group, limits: Sequence[Limit], looks: Looks) -> Panel:
    """A figure for each axis and what stands beside it; may be empty."""
    found = Panel("frontier", "What fits a card", NOTE)
    mine = [
        row
        for row in limits
        if row["method"] in looks
        and row["model"] == group.place["network"]
        and row["dtype"] == group.place["dtype"]
    ]
    lines = dict.fromkeys((row["axis"], row["batch"] or row["T"]) for row in mine)
    options = []
    for axis, given in lines:
        rows = [r for r in mine if r["axis"] == axis and (r["batch"] or r["T"]) == given]
        name = f"{axis}-{given}"
        other = f"at batch {given}" if axis == "T" else f"at T = {given}"
        options.append((name, f"largest {axis} {other}"))
        found.tables[name] = table(rows, group.methods)
        drawn = figure(rows, axis, group.methods, looks)
        found.variants[(name,)] = Variant(drawn, name, sentence(rows, axis, other))
    found.controls = [PanelControl("line", "Search", options)]
    return found


def figure(rows: Sequence[Limit], axis: str, methods: Sequence[str], looks: Looks) -> Figure:
    """The limit of each method on each card."""
    traces: list[Trace] = []
    for method in methods:
        mine = [row for row in rows if row["method"] == method and row["value"]]
        if not mine:
            continue
        trace = marks.signs(method, looks[method]) | {
            "x": [row["card"] for row in mine],
            "y": [row["value"] for row in mine],
            "mode": "lines+markers",
            "line": marks.line(looks[method]),
            "hovertext": [marks.hover(method, None, row["card"], _said(row, axis)) for row in mine],
        }
        symbol = looks[method].symbol
        trace["marker"]["symbol"] = [f"{symbol}-open" if r["beyond"] else symbol for r in mine]
        trace["marker"]["line"] = {"color": looks[method].colour, "width": 1.5}
        traces.append(trace)
    frame = axes.frame("card", f"largest {axis} that fits")
    frame["xaxis"] |= {"type": "category"}
    frame["yaxis"] |= axes.values([y for trace in traces for y in trace["y"]], "log")
    return {"data": traces, "layout": frame}


def table(rows: Sequence[Limit], methods: Sequence[str]) -> pd.DataFrame:
    """A row per method, a column per card."""
    found = []
    for method in methods:
        mine = {row["card"]: row for row in rows if row["method"] == method}
        if mine:
            found.append({"method": method, **{card: _cell(row) for card, row in mine.items()}})
    return pd.DataFrame(found)


def sentence(rows: Sequence[Limit], axis: str, other: str) -> str:
    """The extremes on the largest card."""
    card = rows[-1]["card"]
    here = sorted(
        (row["value"], row["method"]) for row in rows if row["card"] == card and row["value"]
    )
    if not here:
        return f"{other.capitalize()}, nothing fits a card of {card}."
    (least, low), (most, high) = here[0], here[-1]
    return (
        f"{other.capitalize()}, a card of {card} holds {axis} = {least} with {low} and {axis} = "
        f"{most} with {high}."
    )


def _plain(row: Limit) -> Limit:
    """One row with numbers as numbers; CSV knows only text."""
    numbers = {
        key: int(float(row[key])) if row[key] not in (None, "") else None
        for key in ("T", "batch", "value")
    }
    return {**row, **numbers, "beyond": str(row.get("beyond")) == "True"}


def _cell(row: Limit) -> Any:
    if row["status"] != "ok":
        return words(row["status"])
    return row["value"] or "does not fit"


def _said(row: Limit, axis: str) -> str:
    more = " or more" if row["beyond"] else ""
    return f"{axis} = {row['value']}{more} ({row.get('basis') or 'searched'})"
