"""The panel of accuracy against what it cost, with the front that nobody improves on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from harness.report import axes, marks
from harness.report.estimates import Group
from harness.report.marks import FADED, Figure, Looks, Trace
from harness.report.parts import Panel, PanelControl, Variant
from harness.report.style import LIGHT, Look
from harness.report.tables import accuracy
from harness.results.estimates import records
from harness.results.quantities import number, words

NOTE = (
    "After the fixed training budget of the sweep. Bars: range over seeds and repeats; with one "
    "run of each method, differences of a few points are chance. On the front no other method is "
    "both better and cheaper; what lies behind it is faded."
)

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Price:
    """What accuracy is paid with: a column of `estimates.outcomes`."""

    key: str
    label: str
    unit: str


PRICES: Final = (
    Price("memory", "live tensor peak of a step", "MiB"),
    Price("step", "time of a step", "ms"),
    Price("seconds", "training time", "s"),
)


def panel(group: Group, outcomes: pd.DataFrame, looks: Looks) -> Panel:
    """A figure for every price and T that was trained; may be empty."""
    found = Panel("accuracy", "Accuracy against cost", NOTE)
    steps = sorted({int(T) for T in outcomes["T"]}, reverse=True)
    prices = [p for p in PRICES if outcomes[p.key].notna().any()] or list(PRICES[:1])
    for T in steps:
        here = records(outcomes[outcomes["T"] == T])
        for price in prices:
            name = f"{price.key}-{T}"
            best = front(here, price)
            found.tables[name] = table(group.methods, here, best)
            drawn = figure(here, price, best, group.methods, looks)
            found.variants[price.key, str(T)] = Variant(drawn, name, sentence(here, price, best, T))
    found.controls = [
        PanelControl("price", "Against", [(p.key, p.label.capitalize()) for p in prices]),
        PanelControl("T", "Time steps T", [(str(T), str(T)) for T in steps]),
    ]
    return found


def front(rows: Rows, price: Price) -> list[str]:
    """Methods that no other beats in one respect without losing in the other, cheapest first.

    Methods with the same price and accuracy stand there together.
    """
    known = [row for row in rows if row["status"] == "ok" and not math.isnan(row[price.key])]
    known.sort(key=lambda row: (row[price.key], -row["accuracy"]))
    best: list[str] = []
    reached, paid = -math.inf, math.nan
    for row in known:
        equal = (row["accuracy"], row[price.key]) == (reached, paid)
        if row["accuracy"] > reached or equal:
            best.append(row["method"])
            reached, paid = row["accuracy"], row[price.key]
    return best


def figure(
    rows: Rows, price: Price, best: Sequence[str], methods: Sequence[str], looks: Looks
) -> Figure:
    """A marker per method; a method without that price stands in the table alone."""
    known = {row["method"]: row for row in rows if not math.isnan(row[price.key])}
    lost = [row for row in known.values() if row["status"] != "ok"]
    lanes = marks.lanes((row["method"], row[price.key]) for row in lost)
    traces = [_front([known[method] for method in best], price)] if len(best) > 1 else []
    for method in [method for method in methods if method in known]:
        row = known[method]
        if row["status"] == "ok":
            traces.append(_marker(row, price, looks[method], faded=method not in best))
        else:
            traces.append(_open(row, price, lanes[method, row[price.key]], looks[method]))
    frame = axes.frame(f"{price.label} ({price.unit})", "test accuracy (%)", lanes.values())
    frame["xaxis"] |= axes.values([row[price.key] for row in known.values()], "log")
    return {"data": traces, "layout": frame}


def table(methods: Sequence[str], rows: Rows, best: Sequence[str]) -> pd.DataFrame:
    """Accuracy and everything that it cost."""
    known = {row["method"]: row for row in rows}
    found = []
    for method in [method for method in methods if method in known]:
        row = known[method]
        found.append(
            {
                "method": method,
                "accuracy (%)": accuracy(row),
                "runs": int(row["runs"]),
                "live peak (MiB)": row["memory"],
                "step (ms)": row["step"],
                "training time (s)": row["seconds"],
                "on the front": "yes" if method in best else "no",
            }
        )
    return pd.DataFrame(found)


def sentence(rows: Rows, price: Price, best: Sequence[str], T: int) -> str:
    """Best and lowest accuracy, and who is on the front."""
    found = {row["method"]: row for row in rows if row["status"] == "ok"}
    lost = [f"{row['method']} ({words(row['status'])})" for row in rows if row["status"] != "ok"]
    end = f"; no value for {', '.join(lost)}" if lost else ""
    if not found:
        return f"At T = {T}, no training finished{end}."
    nowhere = sorted(name for name, row in found.items() if math.isnan(row[price.key]))
    end = f"; {price.label} unknown for {', '.join(nowhere)}{end}" if nowhere else end
    ordered = sorted(found, key=lambda name: (found[name]["accuracy"], name))
    text = " and the ".join(
        f"{word} accuracy is {number(found[name]['accuracy'])} % ({_paid(found[name], price)})"
        for word, name in (("best", ordered[-1]), ("lowest", ordered[0]))
    )
    on = f"; on the front: {', '.join(best)}" if best else ""
    return f"At T = {T}, the {text}{on}{end}."


def _paid(row: Any, price: Price) -> str:
    cost = row[price.key]
    unknown = math.isnan(cost)
    return row["method"] if unknown else f"{row['method']}, {number(cost)} {price.unit}"


def _front(rows: Rows, price: Price) -> Trace:
    return {
        "type": "scatter",
        "x": marks.plain(row[price.key] for row in rows),
        "y": marks.plain(row["accuracy"] for row in rows),
        "mode": "lines",
        "line": {"color": LIGHT["muted"], "dash": "dot", "width": 1.5, "shape": "hv"},
        "name": "front",
        "hoverinfo": "skip",
    }


def _marker(row: Any, price: Price, look: Look, *, faded: bool) -> Trace:
    values = [row["accuracy"]], [row["low"]], [row["high"]]
    runs = f"{row['runs']} run{'s' if row['runs'] > 1 else ''}"
    text = marks.hover(
        row["method"],
        row["T"],
        f"{marks.interval(row['accuracy'], row['low'], row['high'], '%')} ({runs})",
        f"{price.label} {number(row[price.key])} {price.unit}",
        "behind the front" if faded else "on the front",
        f"trial {row['trial']}",
    )
    return marks.signs(row["method"], look, size=12) | {
        "x": marks.plain([row[price.key]]),
        "y": marks.plain(values[0]),
        "error_y": marks.bars(*values, look),
        "hovertext": [text],
        "mode": "markers",
        "opacity": FADED if faded else 1,
    }


def _open(row: Any, price: Price, lane: int, look: Look) -> Trace:
    return marks.signs(row["method"], look, hollow=True, size=10) | {
        "x": marks.plain([row[price.key]]),
        "y": [lane],
        "yaxis": "y2",
        "hovertext": [marks.hover(row["method"], row["T"], words(row["status"]))],
        "mode": "markers",
    }
