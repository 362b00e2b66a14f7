"""Axes and layout that the figures share."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any, Final

from harness.report.style import FONT, LIGHT

HEIGHT: Final = 420
"""Pixels of a figure, its axes and legend included."""

SCALES: Final = ("log", "linear")

Patch = dict[str, dict[str, Any]]
"""Axis name -> settings that a scale changes."""


_LEGEND: Final = {
    "orientation": "h",
    "yref": "container",
    "y": 0,
    "yanchor": "bottom",
    "xref": "container",
    "x": 0.01,
    "font": {"size": 12},
    "itemclick": False,
    "itemdoubleclick": False,
}


def frame(x: str, y: str, lanes: Collection[int] = ()) -> dict[str, Any]:
    """Layout of a figure with axis titles `x` and `y`; `lanes` are those of cells without a value.

    Such cells get a strip of their own on top (axis y2, a lane a unit high), above the highest
    value that was measured and apart from any scale.
    """
    count = max(lanes, default=-1) + 1
    edge = 1 - min(0.06 + 0.04 * count, 0.4) if count else 1.0
    return {
        "template": "none",
        "height": HEIGHT,
        "margin": {"l": 64, "r": 16, "t": 12, "b": 60},
        "font": {"family": FONT, "size": 13, "color": LIGHT["ink"]},
        "paper_bgcolor": LIGHT["card"],
        "plot_bgcolor": LIGHT["card"],
        "hoverlabel": {"align": "left", "font": {"family": FONT}},
        "legend": dict(_LEGEND),
        "shapes": [_shade(edge)] if count else [],
        "annotations": [_strip_label(edge)] if count else [],
        "xaxis": _axis(x),
        "yaxis": _axis(y) | {"domain": [0, edge - 0.02 if count else 1.0], "side": "left"},
        "yaxis2": {
            "domain": [min(edge, 0.94), 1],
            "visible": False,
            "fixedrange": True,
            "range": [-0.8, max(count, 1) - 0.2],
            "side": "right",
        },
    }


def height(lines: int) -> int:
    """Pixels of a figure with a horizontal line for each method."""
    return max(HEIGHT, 90 + 26 * lines)


def steps(steps: list[int], scale: str) -> dict[str, Any]:
    """Axis of T with one tick per T that was asked for."""
    axis: dict[str, Any] = {"tickvals": steps, "ticktext": [str(T) for T in steps]}
    if scale == "log":
        pad = 0.06 * max(math.log10(steps[-1] / steps[0]), 0.3)
        limits = [math.log10(steps[0]) - pad, math.log10(steps[-1]) + pad]
        return axis | {"type": "log", "range": limits}
    pad = 0.05 * steps[-1]
    return axis | {"type": "linear", "range": [min(0, steps[0] - pad), steps[-1] + pad]}


def names(labels: list[str]) -> dict[str, Any]:
    """Axis of names, such as layers, in the order given; long ones are cut from the left."""
    short = [name if len(name) <= 18 else f"…{name[-17:]}" for name in labels]
    return {
        "type": "category",
        "categoryorder": "array",
        "categoryarray": labels,
        "tickmode": "array",
        "tickvals": labels,
        "ticktext": short,
        "tickangle": -60,
        "range": [-0.5, len(labels) - 0.5],
    }


def values(drawn: Collection[float], scale: str) -> dict[str, Any]:
    """Powers of two on a log axis, and 1.5 times them where those are few.

    Linear where a value is not positive, or nothing is drawn. `drawn` holds no NaN.
    """
    if scale == "linear" or len(drawn) == 0 or min(drawn) <= 0:
        return {"type": "linear", "rangemode": "tozero", "autorange": True, "tickmode": "auto"}
    low, high = math.log2(min(drawn)) - 0.4, math.log2(max(drawn)) + 0.4
    if math.floor(high) - math.ceil(low) < 1:
        low, high = math.floor(low), math.ceil(high)
    every = max(1, math.ceil((high - low) / 8))
    powers = range(math.ceil(low), math.floor(high) + 1, every)
    between = [1.5 * 2.0**power for power in range(math.floor(low), math.ceil(high))]
    ticks = [2.0**power for power in powers]
    if len(ticks) < 4:
        ticks = sorted(ticks + [tick for tick in between if low <= math.log2(tick) <= high])
    return {
        "type": "log",
        "range": [low * math.log10(2), high * math.log10(2)],
        "autorange": False,
        "tickmode": "array",
        "tickvals": ticks,
        "ticktext": [f"{tick:g}" if tick >= 1 else f"{tick:.3g}" for tick in ticks],
    }


def line_at_one() -> dict[str, Any]:
    """A dotted line where a ratio is 1."""
    line = {"color": LIGHT["axis"], "width": 1, "dash": "dot"}
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": 1, "y1": 1, "line": line}


def _axis(title: str) -> dict[str, Any]:
    return {
        "title": {"text": title, "standoff": 10, "font": {"size": 13}},
        "tickfont": {"size": 12},
        "gridcolor": LIGHT["grid"],
        "linecolor": LIGHT["axis"],
        "showline": True,
        "ticks": "outside",
        "tickcolor": LIGHT["axis"],
        "zeroline": False,
        "automargin": True,
        "fixedrange": True,
    }


def _shade(edge: float) -> dict[str, Any]:
    return {
        "type": "rect",
        "xref": "paper",
        "yref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": edge,
        "y1": 1,
        "fillcolor": LIGHT["strip"],
        "line": {"width": 0},
        "layer": "below",
    }


def _strip_label(edge: float) -> dict[str, Any]:
    return {
        "text": "no value",
        "xref": "paper",
        "yref": "paper",
        "x": 0,
        "xshift": -8,
        "y": (1 + edge) / 2,
        "xanchor": "right",
        "yanchor": "middle",
        "showarrow": False,
        "font": {"size": 12, "color": LIGHT["muted"]},
    }
