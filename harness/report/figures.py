"""Figures of one quantity against T, from frames of estimates."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from harness.report import axes, marks
from harness.report.laws import Law
from harness.report.marks import Figure, Looks, Trace
from harness.report.style import Look
from harness.results.estimates import records
from harness.results.quantities import BASELINE, Quantity, words

Rows = list[dict[str, Any]]


def by_steps(
    costs: pd.DataFrame,
    quantity: Quantity,
    view: str,
    methods: Sequence[str],
    looks: Looks,
    laws: Mapping[str, Law] | None = None,
) -> Figure:
    """One quantity against T, a line per method; cells without a value as open markers on top.

    Both axes are logarithmic; `scales` has what makes them linear.

    Args:
        costs: frame of `estimates.estimate`.
        view: "absolute" or "ratio".
        methods: labels in legend order.
        laws: what the absolute view draws as curves, by method.
    """
    rows = sorted(_rows(costs, quantity), key=lambda row: row["T"])
    value = "ratio" if view == "ratio" else "value"
    lanes = marks.lanes((row["method"], row["T"]) for row in rows if row["status"] != "ok")
    traces: list[Trace] = []
    for method in methods:
        mine = [row for row in rows if row["method"] == method]
        drawn = [row for row in mine if row["status"] == "ok" and not math.isnan(row[value])]
        lost = [row for row in mine if row["status"] != "ok"]
        if drawn:
            traces.append(_line(method, drawn, value, quantity, looks[method]))
        if drawn and view == "absolute" and method in (laws or {}):
            traces += _law(method, (laws or {})[method], drawn, quantity, looks[method])
        if lost:
            traces.append(_open(method, lost, lanes, looks[method], named=not drawn))
    unit = f"× {BASELINE}" if view == "ratio" else quantity.unit
    log = scales(costs, quantity, view)["log"]
    frame = axes.frame("time steps T", f"{quantity.label} ({unit})", lanes.values())
    frame["xaxis"] |= log["xaxis"]
    frame["yaxis"] |= log["yaxis"]
    if view == "ratio":
        frame["shapes"].append(axes.line_at_one())
    return {"data": traces, "layout": frame}


def scales(costs: pd.DataFrame, quantity: Quantity, view: str) -> dict[str, axes.Patch]:
    """Scale -> what it changes in the axes of `by_steps`."""
    rows = _rows(costs, quantity)
    columns = ["ratio", "ratio_low", "ratio_high"] if view == "ratio" else ["value", "low", "high"]
    every = [row[column] for row in rows if row["status"] == "ok" for column in columns]
    values = [value for value in every if not math.isnan(value)]
    steps = sorted({row["T"] for row in rows})
    return {
        scale: {"xaxis": axes.steps(steps, scale), "yaxis": axes.values(values, scale)}
        for scale in axes.SCALES
    }


def _rows(costs: pd.DataFrame, quantity: Quantity) -> Rows:
    return [row for row in records(costs) if row["quantity"] == quantity.key]


def _line(method: str, rows: Rows, value: str, quantity: Quantity, look: Look) -> Trace:
    low, high = ("ratio_low", "ratio_high") if value == "ratio" else ("low", "high")
    unit = f"× {BASELINE}" if value == "ratio" else quantity.unit
    values, lows, highs = ([row[key] for row in rows] for key in (value, low, high))
    text = [
        marks.hover(
            method,
            row["T"],
            marks.interval(row[value], row[low], row[high], unit),
            marks.basis(row, value),
            row["note"],
            f"trial {row['trial']}",
        )
        for row in rows
    ]
    return marks.signs(method, look) | {
        "x": [row["T"] for row in rows],
        "y": marks.plain(values),
        "error_y": marks.bars(values, lows, highs, look),
        "hovertext": text,
        "mode": "lines+markers",
        "line": marks.line(look),
    }


def _law(method: str, law: Law, rows: Rows, quantity: Quantity, look: Look) -> list[Trace]:
    """The fitted curve, and the band of the laws whose exponents bound the interval."""
    ends = [float(row["T"]) for row in rows]
    T = np.geomspace(min(ends), max(ends), 33)
    common = {
        "type": "scatter",
        "x": marks.plain(T),
        "meta": method,
        "legendgroup": html.escape(method),
        "showlegend": False,
        "name": html.escape(method),
    }
    curve = common | {
        "uid": f"law:{method}",
        "y": marks.plain(law.at(T)),
        "mode": "lines",
        "line": marks.line(look),
        "hoverinfo": "text",
        "hovertext": marks.hover(method, None, law.words(quantity.unit)),
    }
    if not law.band:
        return [curve]
    low, high = (law.edge(end, T) for end in law.band)
    shade = common | {
        "uid": f"law:band:{method}",
        "x": marks.plain([*T, *T[::-1]]),
        "y": marks.plain([*np.minimum(low, high), *np.maximum(low, high)[::-1]]),
        "mode": "lines",
        "fill": "toself",
        "fillcolor": look.colour,
        "opacity": 0.14,
        "line": {"width": 0, "color": look.colour},
        "hoverinfo": "skip",
    }
    return [shade, curve]


def _open(
    method: str,
    rows: Rows,
    lanes: Mapping[tuple[str, float], int],
    look: Look,
    *,
    named: bool,
) -> Trace:
    """Open markers in the strip above the plot, one lane per method that shares a position."""
    return marks.signs(method, look, hollow=True, size=10) | {
        "x": [row["T"] for row in rows],
        "y": [lanes[method, row["T"]] for row in rows],
        "yaxis": "y2",
        "hovertext": [
            marks.hover(
                method, row["T"], words(row["status"]), row["note"], f"trial {row['trial']}"
            )
            for row in rows
        ],
        "mode": "markers",
        "showlegend": named,
    }
