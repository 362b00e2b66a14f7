"""The panel on growth: the law a + b*T^p of each method, its exponent's interval, its class."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from harness import growth
from harness.report import axes
from harness.report.estimates import Group, samples_of
from harness.report.parts import Control, Panel, Variant
from harness.report.quantities import GROWING, MEMORY, TIME, Quantity, number
from harness.report.style import Look
from harness.report.tables import Interval

NOTE = (
    "The law a + b·T^p, fitted to every measured T. An exponent of 1 is linear growth; without "
    "growth there is no exponent. Bars: 95 % interval, of exact figures by the residuals, of times "
    "by a bootstrap over processes (with one process a T, by the residuals)."
)


def panel(group: Group, looks: Mapping[str, Look]) -> Panel:
    """A figure and a table for every quantity that was measured at enough T; may be empty."""
    found = Panel("growth", "Growth with T", NOTE)
    options = []
    for quantity in [q for q in (*MEMORY, *TIME) if q.key in GROWING]:
        laws = frame(group, quantity)
        if laws.empty:
            continue
        options.append((quantity.key, quantity.label))
        found.tables[quantity.key] = table(laws, quantity)
        drawn = figure(laws, group.methods, looks)
        found.variants[(quantity.key,)] = Variant(drawn, quantity.key, sentence(laws, quantity))
    found.controls = [Control("quantity", "Quantity", options)]
    return found


def frame(group: Group, quantity: Quantity) -> pd.DataFrame:
    """One row per method that was measured at enough T.

    Columns: method, a, b (display unit), p, low, high, misfit (relative), reason (why there is no
    exponent, or ""), and for stored bytes derived and declared, the memory classes.
    """
    trials = group.trials[(group.trials["probe"] == quantity.probe)]
    declared = trials.set_index("method")["memory_class"].to_dict()
    by_method: dict[str, dict[int, list[float]]] = {}
    for (method, T), processes in samples_of(trials, group.measurements, quantity).items():
        medians = [float(pd.Series(samples).median()) for samples in processes.values()]
        by_method.setdefault(method, {})[T] = medians
    rows = []
    for method, points in by_method.items():
        if len(points) < growth.FEWEST:
            continue
        exact = quantity.probe == "memory"  # equal in every repeat: nothing to resample
        flat_points = [(T, value) for T, values in points.items() for value in values]
        law = growth.fit(flat_points) if exact else growth.fit_noisy(points)
        row = {"method": method, "a": law.a, "b": law.b, "p": law.p, "low": law.low}
        row |= {"high": law.high, "misfit": law.misfit, "reason": law.reason or ""}
        if (quantity.metric, quantity.phase or growth.STORED[1]) == growth.STORED:
            row |= {"derived": growth.memory_class(flat_points), "declared": declared[method]}
        rows.append(row)
    return pd.DataFrame(rows)


def figure(laws: pd.DataFrame, methods: list[str], looks: Mapping[str, Look]) -> go.Figure:
    """Exponents as markers with bars, a line per method; open markers where nothing grows."""
    known = laws.set_index("method")
    shown = [method for method in reversed(methods) if method in known.index]
    layout = axes.layout("exponent p of T", "")
    layout["xaxis"] |= {"rangemode": "tozero"}
    layout["yaxis"] |= {"showgrid": False, "ticksuffix": "  "}
    layout["showlegend"] = False
    return go.Figure(
        [_marker(method, known.loc[method], looks[method]) for method in shown], layout
    )


def _marker(method: str, law: Any, look: Look) -> go.Scatter:
    flat = math.isnan(law["p"])
    name = html.escape(method)
    text = f"<b>{name}</b><br>" + (html.escape(law["reason"]) if flat else _law(law))
    p = 0.0 if flat else float(f"{law['p']:.6g}")
    bars = [0.0 if flat else max(float(f"{x:.6g}"), 0.0) for x in _arms(law)]
    return go.Scatter(
        x=[p],
        y=[name],
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [bars[1]],
            "arrayminus": [bars[0]],
            "color": look.colour,
            "thickness": 1.2,
        },
        mode="markers",
        marker={
            "color": look.colour,
            "symbol": f"{look.symbol}-open" if flat else look.symbol,
            "size": 11,
            "line": {"color": look.colour, "width": 2 if flat else 0},
        },
        name=name,
        meta=method,
        hovertext=[text],
        hoverinfo="text",
    )


def _arms(law: Any) -> tuple[float, float]:
    return law["p"] - law["low"], law["high"] - law["p"]


def _law(law: Any) -> str:
    ends = f"[{law['low']:.2f} – {law['high']:.2f}]"
    return f"{number(law['a'])} + {number(law['b'])}·T^{law['p']:.2f} {ends}"


def table(laws: pd.DataFrame, quantity: Quantity) -> pd.DataFrame:
    """The laws in words and numbers."""
    rows = []
    for law in laws.to_dict("records"):
        flat = math.isnan(law["p"])
        row = {
            "method": law["method"],
            f"a ({quantity.unit})": law["a"],
            f"b ({quantity.unit})": law["b"],
            "exponent p": law["reason"] if flat else Interval(law["p"], law["low"], law["high"]),
            "largest misfit (%)": 100 * law["misfit"],
        }
        if "derived" in laws.columns:
            row |= {"memory class": law["derived"] or "too few T", "declared": law["declared"]}
        rows.append(row)
    return pd.DataFrame(rows)


def sentence(laws: pd.DataFrame, quantity: Quantity) -> str:
    """Who grows how; and who grows otherwise than declared."""
    flat = sorted(laws.loc[laws["p"].isna(), "method"])
    grown = laws[laws["p"].notna()].sort_values("p")
    parts = [f"{', '.join(flat)} {'does' if len(flat) == 1 else 'do'} not grow"] if flat else []
    if len(grown):
        least, most = grown.iloc[0], grown.iloc[-1]
        span = f"like T^{least['p']:.2f} ({least['method']})"
        if len(grown) > 1:
            span += f" to T^{most['p']:.2f} ({most['method']})"
        parts.append(f"{'the others grow' if flat else 'methods grow'} {span}")
    text = f"{quantity.label}, with T: {'; '.join(parts)}"
    if "derived" in laws.columns:
        wrong = laws[laws["derived"].notna() & (laws["derived"] != laws["declared"])]
        named = [f"{r['method']} ({r['derived']})" for r in wrong.to_dict("records")]
        text += f"; otherwise than declared: {', '.join(named)}" if named else ""
    return f"{text}."
