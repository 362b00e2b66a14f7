"""The panel on growth: the law a + b*T^p of each method, its exponent's interval, its class."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from harness.report import axes, marks
from harness.report.estimates import Group
from harness.report.laws import Law, class_of
from harness.report.marks import Figure, Looks, Trace
from harness.report.parts import Panel, PanelControl, Variant
from harness.report.style import Look
from harness.report.tables import Interval
from harness.results import growth
from harness.results.memory_class import STORED
from harness.results.quantities import MEMORY, TIME, Quantity

NOTE = (
    "The law a + b·T^p, fitted to every measured T. An exponent of 1 is linear growth; without "
    "growth there is no exponent. Bars: 95 % interval, of exact figures by the residuals, of times "
    "by a bootstrap over processes (with one process a T, by the residuals)."
)


def panel(group: Group, laws: Mapping[str, Mapping[str, Law]], looks: Looks) -> Panel:
    """A figure and a table for every quantity that has laws; may be empty."""
    found = Panel("growth", "Growth with T", NOTE)
    options = []
    for quantity in (*MEMORY, *TIME):
        if not laws.get(quantity.key):
            continue
        rows = frame(group, quantity, laws[quantity.key])
        options.append((quantity.key, quantity.label))
        found.tables[quantity.key] = table(rows, quantity)
        drawn = figure(rows, laws[quantity.key], quantity, group.methods, looks)
        found.variants[(quantity.key,)] = Variant(drawn, quantity.key, sentence(rows, quantity))
    found.controls = [PanelControl("quantity", "Quantity", options)]
    return found


def frame(group: Group, quantity: Quantity, laws: Mapping[str, Law]) -> pd.DataFrame:
    """One row per method.

    Columns: method, a, b (display unit), p, low, high, misfit (relative), reason (why there is no
    exponent, or ""), and for stored bytes derived and declared, the memory classes.
    """
    declared = dict(zip(group.trials["method"], group.trials["memory_class"], strict=True))
    rows = []
    for method in [method for method in group.methods if method in laws]:
        law = laws[method].growth
        row = {"method": method, "a": law.a, "b": law.b, "p": law.p, "low": law.low}
        row |= {"high": law.high, "misfit": law.misfit, "reason": law.reason or ""}
        if quantity.metric == STORED[0]:
            row |= {"derived": class_of(laws[method]), "declared": declared[method]}
        rows.append(row)
    return pd.DataFrame(rows)


def figure(
    rows: pd.DataFrame,
    laws: Mapping[str, Law],
    quantity: Quantity,
    methods: list[str],
    looks: Looks,
) -> Figure:
    """Exponents as markers with bars, a line per method; open markers where nothing grows."""
    known = rows.set_index("method")
    shown = [method for method in reversed(methods) if method in known.index]
    frame = axes.frame("exponent p of T", "")
    frame["xaxis"] |= {"rangemode": "tozero"}
    frame["yaxis"] |= {"showgrid": False, "ticksuffix": "  "}
    frame |= {"showlegend": False, "height": axes.height(len(shown))}
    traces = [
        _marker(method, known.loc[method], laws[method].words(quantity.unit), looks[method])
        for method in shown
    ]
    return {"data": traces, "layout": frame}


def _marker(method: str, law: Any, text: str, look: Look) -> Trace:
    flat = math.isnan(law["p"])
    p, low, high = (0.0,) * 3 if flat else (law["p"], law["low"], law["high"])
    return marks.signs(method, look, hollow=flat, size=10) | {
        "x": marks.plain([p]),
        "y": [html.escape(method)],
        "error_x": marks.bars([p], [max(low, 0.0)], [high], look),
        "mode": "markers",
        "cliponaxis": False,
        "hovertext": [marks.hover(method, None, text)],
    }


def table(rows: pd.DataFrame, quantity: Quantity) -> pd.DataFrame:
    """The laws in words and numbers."""
    found = []
    for law in rows.to_dict("records"):
        flat = math.isnan(law["p"])
        row = {
            "method": law["method"],
            f"a ({quantity.unit})": law["a"],
            f"b ({quantity.unit})": law["b"],
            "exponent p": law["reason"] if flat else Interval(law["p"], law["low"], law["high"]),
            "largest misfit (%)": 100 * law["misfit"],
        }
        if "derived" in rows.columns:
            row |= {"memory class": law["derived"] or "too few T", "declared": law["declared"]}
        found.append(row)
    return pd.DataFrame(found)


def sentence(rows: pd.DataFrame, quantity: Quantity) -> str:
    """Who grows how; and who grows otherwise than declared."""
    flat = sorted(rows.loc[rows["p"].isna(), "method"])
    least, most = growth.LIMITS
    unsure = rows["low"].le(least) & rows["high"].ge(most)
    open_ends = sorted(rows.loc[unsure, "method"])
    grown = rows[rows["p"].notna() & ~unsure].sort_values("p")
    parts = [f"{', '.join(flat)} {'does' if len(flat) == 1 else 'do'} not grow"] if flat else []
    if len(grown):
        slow, fast = grown.iloc[0], grown.iloc[-1]
        span = f"like T^{slow['p']:.2f} ({slow['method']})"
        if len(grown) > 1:
            span += f" to T^{fast['p']:.2f} ({fast['method']})"
        parts.append(f"{'the others grow' if flat or open_ends else 'methods grow'} {span}")
    if open_ends:
        parts.append(f"the points leave the exponent open for {', '.join(open_ends)}")
    text = f"{quantity.label}, with T: {'; '.join(parts)}"
    if "derived" in rows.columns:
        wrong = rows[rows["derived"].notna() & (rows["derived"] != rows["declared"])]
        named = [f"{r['method']} ({r['derived']})" for r in wrong.to_dict("records")]
        text += f"; otherwise than declared: {', '.join(named)}" if named else ""
    return f"{text}."
