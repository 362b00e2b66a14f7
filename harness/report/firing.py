"""The panel of firing rates: by layer, by time step, and both at once for one method."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.report import axes, marks
from harness.report.estimates import Group
from harness.report.layers import label
from harness.report.marks import Figure, Looks
from harness.report.parts import Panel, PanelControl, Variant
from harness.report.style import BLUE, LIGHT
from harness.results.quantities import number

NOTE = (
    "Share of a layer's neurons that fire in a time step, averaged over the batch. A layer that "
    "never fires passes nothing on, and one that always fires tells nothing."
)
VIEWS: Final = {"layer": "by layer, mean over time steps", "step": "by time step, mean over layers"}

Rates = dict[str, dict[str, NDArray[np.float64]]]
"""Method -> layer -> rate [T], averaged over runs."""


def panel(group: Group, looks: Looks) -> Panel:
    """A figure for every stage of training, T and view; may be empty."""
    found = Panel("firing", "Firing rates", NOTE)
    steps = sorted({T for _, T in group.cells("activity")}, reverse=True)
    metrics = []
    for metric in group.readings.metrics("activity."):
        for T in steps:
            rates = collect(group, metric, T)
            if not rates:
                continue
            metrics.append((metric, label(metric)))
            # One scale for all methods, from zero: equal colours are equal rates.
            top = max(float(r.max()) for layers in rates.values() for r in layers.values()) or 1.0
            for view in (*VIEWS, *rates):
                name = f"{metric}-{T}-{view}"
                if view in VIEWS:
                    found.tables[name] = table(rates, view)
                    drawn, text = lines(rates, view, metric, looks), sentence(rates, view, T)
                else:
                    found.tables[name] = grid_table(view, rates[view])
                    drawn, text = heatmap(rates[view], top), grid_sentence(view, rates[view], T)
                found.variants[metric, str(T), view] = Variant(drawn, name, text)
    shown = [method for method in group.methods if any(key[2] == method for key in found.variants)]
    maps = [(method, f"by layer and time step: {method}") for method in shown]
    found.controls = [
        PanelControl("metric", "Weights", list(dict.fromkeys(metrics))),
        PanelControl("T", "Time steps T", [(str(T), str(T)) for T in steps]),
        PanelControl("view", "View", [*VIEWS.items(), *maps]),
    ]
    return found


def collect(group: Group, metric: str, T: int) -> Rates:
    """The rates of every method at one T, in reading order."""
    trials = {m: rows for (m, steps), rows in group.cells("activity").items() if steps == T}
    found: Rates = {}
    for method in [method for method in group.methods if method in trials]:
        for layer, readings in group.readings.phases(metric).items():
            runs = [x for row in trials[method] if (x := readings.get(row["trial"]))]
            if runs:
                found.setdefault(method, {})[layer] = np.mean(runs, axis=0)
    return found


def lines(rates: Rates, view: str, metric: str, looks: Looks) -> Figure:
    """A line per method over layers or over time steps."""
    traces = []
    for method, layers in rates.items():
        x, y = _points(layers, view)
        text = [
            marks.hover(method, None, place, f"rate {number(v)}")
            for place, v in zip(x, y, strict=True)
        ]
        traces.append(
            marks.signs(method, looks[method])
            | {"x": x, "y": marks.plain(y), "hovertext": text, "mode": "lines+markers"}
            | {"line": marks.line(looks[method]) | {"width": 1.5}}
        )
    frame = axes.frame("time step" if view == "step" else "", "firing rate")
    if view == "layer":
        frame["xaxis"] |= axes.names(_points(next(iter(rates.values())), view)[0])
        frame["height"] = axes.HEIGHT + 60
    frame["yaxis"] |= {"rangemode": "tozero"}
    return {"data": traces, "layout": frame}


def heatmap(layers: dict[str, NDArray[np.float64]], top: float) -> Figure:
    """Layers from top to bottom, time steps from left to right; full colour is a rate of `top`."""
    z = [marks.plain(rate) for rate in layers.values()]
    trace = {
        "type": "heatmap",
        "z": z,
        "x": list(range(1, len(z[0]) + 1)),
        "y": list(layers),
        "zmin": 0,
        "zmax": top,
        "colorscale": [[0, LIGHT["strip"]], [1, BLUE]],
        "colorbar": {"title": {"text": "rate"}, "thickness": 12},
        "hovertemplate": "%{y}<br>time step %{x}<br>rate %{z:.3g}<extra></extra>",
        "xgap": 1,
        "ygap": 1,
    }
    frame = axes.frame("time step", "")
    frame["yaxis"] |= {"autorange": "reversed", "ticksuffix": "  ", "showgrid": False}
    frame["height"] = axes.height(len(layers))
    return {"data": [trace], "layout": frame}


def table(rates: Rates, view: str) -> pd.DataFrame:
    """A row per method."""
    rows = []
    for method, layers in rates.items():
        x, y = _points(layers, view)
        rows.append({"method": method, **dict(zip(map(str, x), y, strict=True))})
    return pd.DataFrame(rows)


def grid_table(method: str, layers: dict[str, NDArray[np.float64]]) -> pd.DataFrame:
    """A row per layer, a column per time step."""
    steps = {
        layer: {f"step {t}": float(rate) for t, rate in enumerate(rates, 1)}
        for layer, rates in layers.items()
    }
    return pd.DataFrame([{"layer": layer, **values} for layer, values in steps.items()])


def sentence(rates: Rates, view: str, T: int) -> str:
    """Who fires least and most."""
    mean = {m: float(np.mean([r.mean() for r in layers.values()])) for m, layers in rates.items()}
    low, high = min(mean, key=mean.__getitem__), max(mean, key=mean.__getitem__)
    return (
        f"At T = {T}, averaged over layers and time steps, neurons fire at a rate from "
        f"{number(mean[low])} ({low}) to {number(mean[high])} ({high})."
    )


def grid_sentence(method: str, layers: dict[str, NDArray[np.float64]], T: int) -> str:
    """The quietest and the busiest layer."""
    mean = {layer: float(rate.mean()) for layer, rate in layers.items()}
    low, high = min(mean, key=mean.__getitem__), max(mean, key=mean.__getitem__)
    return (
        f"With {method} at T = {T}, layer {low} fires least ({number(mean[low])}) and {high} most "
        f"({number(mean[high])})."
    )


def _points(layers: dict[str, NDArray[np.float64]], view: str) -> tuple[list[Any], list[float]]:
    if view == "layer":
        return list(layers), [float(rate.mean()) for rate in layers.values()]
    mean = np.mean(list(layers.values()), axis=0)
    return list(range(1, len(mean) + 1)), [float(rate) for rate in mean]
