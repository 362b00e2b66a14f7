"""The panel of predicted against measured memory: what the exact count is worth on this machine.

The exact count knows tensors. What was measured holds more: rounding to blocks, workspaces inside
operators, fragmentation, and for a whole process its CUDA context.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from harness.report import axes, marks
from harness.report.estimates import Group
from harness.report.marks import Figure, Looks, Trace
from harness.report.parts import Panel, PanelControl, Variant
from harness.report.style import LIGHT, Look
from harness.results.estimates import records
from harness.results.quantities import ABOVE, MEMORY, WHOLE, Quantity, number

NOTE = (
    "Predicted: the exact count of tensor bytes, as `ratebp-bench plan` gives it without running "
    "anything. Points on the line agree; points above it hold what tensors do not explain: block "
    "rounding, workspaces, fragmentation, the CUDA context."
)


def panel(group: Group, memory: pd.DataFrame, looks: Looks) -> Panel:
    """A figure and a table for every kind of measured memory; may be empty."""
    found = Panel("predictions", "Predicted against measured memory", NOTE)
    options = []
    for quantity in [q for q in MEMORY if q.key in (*ABOVE, *WHOLE)]:
        points = frame(memory, quantity)
        if points.empty:
            continue
        options.append((quantity.key, quantity.label))
        found.tables[quantity.key] = table(points, group.methods)
        drawn = figure(points, quantity, group.methods, looks)
        found.variants[(quantity.key,)] = Variant(drawn, quantity.key, sentence(points, quantity))
    found.controls = [PanelControl("quantity", "Measured", options)]
    return found


def frame(memory: pd.DataFrame, quantity: Quantity) -> pd.DataFrame:
    """Columns method, T, predicted, measured (MiB), ratio; one row a cell that has both."""
    good = memory[memory["status"] == "ok"]
    wide = good.pivot(index=["method", "T"], columns="quantity", values="value")
    needed = ["live_peak", quantity.key, *(["persistent"] if quantity.key in WHOLE else [])]
    wide = wide.reindex(columns=needed).dropna()
    points = pd.DataFrame({"predicted": wide.drop(columns=quantity.key).sum(axis="columns")})
    points["measured"] = wide[quantity.key]
    points["ratio"] = points["measured"] / points["predicted"]
    return points.reset_index()


def figure(points: pd.DataFrame, quantity: Quantity, methods: list[str], looks: Looks) -> Figure:
    """Measured over predicted, a marker a cell, and the line on which they agree."""
    ends = pd.concat([points["predicted"], points["measured"]])
    low, high = float(ends.min()), float(ends.max())
    traces: list[Trace] = [
        {
            "type": "scatter",
            "x": marks.plain([low, high]),
            "y": marks.plain([low, high]),
            "mode": "lines",
            "line": {"color": LIGHT["muted"], "dash": "dot", "width": 1},
            "name": "equal",
            "hoverinfo": "skip",
        }
    ]
    for method in methods:
        mine = points[points["method"] == method].sort_values("T")
        if len(mine):
            traces.append(_markers(method, records(mine), looks[method]))
    frame = axes.frame("predicted (MiB)", f"{quantity.label} (MiB)")
    frame["xaxis"] |= axes.values(points["predicted"], "log")
    frame["yaxis"] |= axes.values(points["measured"], "log")
    return {"data": traces, "layout": frame}


def _markers(method: str, rows: list[dict[str, Any]], look: Look) -> Trace:
    return marks.signs(method, look) | {
        "x": marks.plain(row["predicted"] for row in rows),
        "y": marks.plain(row["measured"] for row in rows),
        "mode": "markers",
        "hovertext": [
            marks.hover(
                method,
                row["T"],
                f"predicted {number(row['predicted'])} MiB",
                f"measured {number(row['measured'])} MiB ({number(row['ratio'])} ×)",
            )
            for row in rows
        ],
    }


def table(points: pd.DataFrame, methods: list[str]) -> pd.DataFrame:
    """The same cells in rows, in reading order."""
    order = points["method"].map({name: number for number, name in enumerate(methods)})
    rows = points.assign(order=order).sort_values(["order", "T"]).drop(columns="order")
    headings = {"predicted": "predicted (MiB)", "measured": "measured (MiB)"}
    return rows.rename(columns=headings | {"ratio": "measured / predicted"}).reset_index(drop=True)


def sentence(points: pd.DataFrame, quantity: Quantity) -> str:
    """How far measured and predicted differ."""
    ordered = points.sort_values("ratio").to_dict("records")
    low, high = ordered[0], ordered[-1]
    return (
        f"{quantity.label} is {number(low['ratio'])} ({low['method']}, T = {low['T']}) to "
        f"{number(high['ratio'])} times ({high['method']}, T = {high['T']}) what was predicted, "
        f"over {len(points)} cells; the median is {number(points['ratio'].median())}."
    )
