"""The panels of figures by layer: gradient fidelity, assumptions, firing rates."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from harness.report import axes, marks
from harness.report.estimates import Group
from harness.report.marks import Figure, Looks, Trace
from harness.report.parts import Panel, PanelControl, Variant
from harness.report.tables import Interval
from harness.results import stats
from harness.results.quantities import number

ALL: Final = "all"
"""The phase that stands for the whole network."""

AGAINST_T: Final = "against T"

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Topic:
    """One kind of figure by layer: metrics that start with `prefix`, taken by `probe`."""

    key: str
    title: str
    note: str
    prefix: str
    probe: str
    perfect: float | None


TOPICS: Final = (
    Topic(
        "fidelity",
        "Gradient fidelity",
        "The method's gradient against that of BPTT on the same weights and batches: cosine of the "
        "angle, and ratio of lengths; 1 is the same gradient. Bars: range over batches and runs.",
        "fidelity.",
        "fidelity",
        1.0,
    ),
    Topic(
        "assumptions",
        "Assumptions of rate-based backpropagation",
        "How far its three assumptions hold in each layer; 1 is exactly. Bars: range over batches.",
        "assumption.",
        "fidelity",
        1.0,
    ),
)


def panel(group: Group, topic: Topic, looks: Looks) -> Panel:
    """A figure for every metric, by layer at each T and against T; may be empty."""
    found = Panel(topic.key, topic.title, topic.note)
    metrics, views = [], []
    for metric in group.readings.metrics(topic.prefix):
        rows = frame(group, topic, metric)
        if not rows:
            continue
        metrics.append((metric, label(metric)))
        for view, (x, drawn) in _views(rows).items():
            if not drawn:
                continue
            name = f"{metric}-{view}"
            found.tables[name] = table(drawn, x)
            picture = figure(drawn, x, metric, topic, group.methods, looks)
            text = sentence(drawn, x, metric, view)
            found.variants[metric, view] = Variant(picture, name, text)
            views.append(view)
    order = sorted(set(views), key=lambda view: (view != AGAINST_T, -_digits(view)))
    found.controls = [
        PanelControl("metric", "Quantity", metrics),
        PanelControl("view", "View", [(view, _view_label(view)) for view in order]),
    ]
    return found


def frame(group: Group, topic: Topic, metric: str) -> Rows:
    """One row per method, T and layer, layers in order: value, low, high (range over batches)."""
    order = {method: place for place, method in enumerate(group.methods)}
    found = []
    phases = group.readings.phases(metric)
    cells = group.cells(topic.probe)
    for layer, readings in phases.items():
        for (method, T), trials in cells.items():
            values = [x for row in trials for x in readings.get(row["trial"], [])]
            if values:
                row = {"method": method, "T": T, "layer": layer, "value": stats.median(values)}
                row |= {"low": min(values), "high": max(values), "count": len(values)}
                found.append(row | {"trial": trials[0]["trial"]})
    return sorted(found, key=lambda row: order[row["method"]])


def figure(
    rows: Rows, x: str, metric: str, topic: Topic, methods: Sequence[str], looks: Looks
) -> Figure:
    """A line per method over layers (`x` is "layer") or over T."""
    traces: list[Trace] = []
    for method in methods:
        mine = [row for row in rows if row["method"] == method]
        if mine:
            traces.append(_line(method, mine, x, looks))
    frame = axes.frame("time steps T" if x == "T" else "", label(metric))
    if x == "T":
        frame["xaxis"] |= axes.steps(sorted({row["T"] for row in rows}), "log")
    else:
        layers = list(dict.fromkeys(row["layer"] for row in rows))
        frame["xaxis"] |= axes.names(layers)
        frame["height"] = axes.HEIGHT + 60
    if topic.perfect is not None:
        frame["shapes"].append(axes.line_at_one())
    return {"data": traces, "layout": frame}


def table(rows: Rows, x: str) -> pd.DataFrame:
    """A row per method, a column per layer or T."""
    heads = list(dict.fromkeys(row[x] for row in rows))
    heads = sorted(heads) if x == "T" else heads
    found = []
    for method in dict.fromkeys(row["method"] for row in rows):
        cells = {row[x]: row for row in rows if row["method"] == method}
        line: dict[str, Any] = {"method": method}
        for head in heads:
            name = f"T={head}" if x == "T" else str(head)
            row = cells.get(head)
            line[name] = Interval(row["value"], row["low"], row["high"]) if row else math.nan
        found.append(line)
    return pd.DataFrame(found)


def sentence(rows: Rows, x: str, metric: str, view: str) -> str:
    """The extremes."""
    ordered = sorted(rows, key=lambda row: row["value"])
    low, high = ordered[0], ordered[-1]
    where = "Over the whole network" if x == "T" else f"Over layers at T = {view}"

    def at(row: Any) -> str:
        place = f"T = {row['T']}" if x == "T" else row["layer"]
        return f"{number(row['value'])} ({row['method']}, {place})"

    return f"{where}, {label(metric)} goes from {at(low)} to {at(high)}."


def label(metric: str) -> str:
    """`fidelity.trained.bptt_m.norm_ratio` in words."""
    _, stage, *rest = metric.split(".")
    what = rest[-1].replace("_", " ")
    against = f" to {rest[0]}" if len(rest) > 1 else ""
    return f"{what}{against}, {stage} weights"


def _views(rows: Rows) -> dict[str, tuple[str, Rows]]:
    """View -> what is on the x axis, and the rows that it shows."""
    layers = [row for row in rows if row["layer"] != ALL]
    steps = sorted({row["T"] for row in layers}, reverse=True)
    found = {AGAINST_T: ("T", [row for row in rows if row["layer"] == ALL])}
    return found | {str(T): ("layer", [row for row in layers if row["T"] == T]) for T in steps}


def _line(method: str, rows: Rows, x: str, looks: Looks) -> Trace:
    rows = sorted(rows, key=lambda row: row["T"]) if x == "T" else rows
    value, low, high = ([row[key] for row in rows] for key in ("value", "low", "high"))
    return marks.signs(method, looks[method]) | {
        "x": [row[x] for row in rows],
        "y": marks.plain(value),
        "error_y": marks.bars(value, low, high, looks[method]),
        "hovertext": list(_hovers(method, rows)),
        "mode": "lines+markers",
        "line": marks.line(looks[method]) | {"width": 1.5},
    }


def _hovers(method: str, rows: Rows) -> Iterator[str]:
    for row in rows:
        yield marks.hover(
            method,
            row["T"],
            "whole network" if row["layer"] == ALL else row["layer"],
            marks.interval(row["value"], row["low"], row["high"], ""),
            f"{row['count']} values",
            f"trial {row['trial']}",
        )


def _view_label(view: str) -> str:
    return view if view == AGAINST_T else f"by layer, T = {view}"


def _digits(view: str) -> int:
    return int(view) if view.isdigit() else 0
