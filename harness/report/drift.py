"""The panel of drift and noise: what the machine did while the figures were taken."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import pandas as pd

from harness.report import axes, marks
from harness.report.estimates import Group
from harness.report.marks import Figure, Looks, Trace
from harness.report.parts import Panel, PanelControl, Variant
from harness.results import stats
from harness.results.estimates import records
from harness.results.quantities import number

NOTE = (
    "Every trial in the order in which it ran. The reference is the same code in every trial: what "
    "it drifts, the machine drifts. A method's steps are shown over the median of their cell."
)

Points = list[dict[str, Any]]
Facts = Mapping[str, Any]


def _fact(*path: str) -> Callable[[Facts], float]:
    def read(facts: Facts) -> float:
        value: Any = facts
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        return float(value) if isinstance(value, (int, float)) else math.nan

    return read


SERIES: Final = {
    "time.reference": "Reference step over its median",
    "time.step": "Whole step over its cell's median",
}
STATES: Final = {
    "cpu_clock": ("CPU clock (MHz)", _fact("cpu", "after", "mhz")),
    "cpu_heat": ("CPU temperature (°C)", _fact("cpu", "after", "celsius")),
    "cpu_load": ("Cores kept busy by others", _fact("cpu", "others")),
    "cpu_share": ("CPU seconds a second", _fact("cpu", "own_share")),
    "gpu_clock": ("GPU clock (MHz)", _fact("gpu_after", "sm_mhz")),
    "gpu_heat": ("GPU temperature (°C)", _fact("gpu_after", "temperature_c")),
    "gpu_power": ("GPU power (W)", _fact("gpu_after", "power_w")),
}


def panel(group: Group, facts: Mapping[str, Facts], looks: Looks) -> Panel:
    """A figure for everything that was recorded; may be empty."""
    found = Panel("drift", "Drift and noise", NOTE)
    options = []
    series = {key: (text, _relative(group, key)) for key, text in SERIES.items()}
    series |= {key: (text, _states(group, facts, fact)) for key, (text, fact) in STATES.items()}
    for key, (text, points) in series.items():
        if not points:
            continue
        options.append((key, text))
        found.tables[key] = table(points, group.methods)
        found.variants[(key,)] = Variant(
            figure(points, key, text, group.methods, looks), key, sentence(points, text)
        )
    found.controls = [PanelControl("series", "Series", options)]
    return found


def figure(points: Points, key: str, text: str, methods: list[str], looks: Looks) -> Figure:
    """A marker a trial, in running order."""
    traces: list[Trace] = []
    for method in methods:
        mine = [point for point in points if point["method"] == method]
        if mine:
            traces.append(
                marks.signs(method, looks[method], size=8)
                | {
                    "x": [point["order"] for point in mine],
                    "y": marks.plain(point["value"] for point in mine),
                    "mode": "markers",
                    "hovertext": [
                        marks.hover(
                            method, p["T"], f"{text}: {number(p['value'])}", f"trial {p['trial']}"
                        )
                        for p in mine
                    ],
                }
            )
    frame = axes.frame("order of the trials in the run", text)
    if key in SERIES:
        frame["shapes"].append(axes.line_at_one())
    return {"data": traces, "layout": frame}


def table(points: Points, methods: list[str]) -> pd.DataFrame:
    """A row per method: how many trials, their middle, and how far they scatter."""
    found = []
    for method in methods:
        values = [point["value"] for point in points if point["method"] == method]
        if values:
            low, high = stats.interquartile(values)
            row = {"method": method, "trials": len(values), "least": min(values)}
            row |= {"first quartile": low, "median": stats.median(values)}
            found.append(row | {"third quartile": high, "greatest": max(values)})
    return pd.DataFrame(found)


def sentence(points: Points, text: str) -> str:
    """The range, and whether the later half differs from the earlier."""
    ordered = [point["value"] for point in sorted(points, key=lambda point: point["order"])]
    whole = f"{text}: {number(min(ordered))} to {number(max(ordered))} over {len(ordered)} trials"
    half = len(ordered) // 2
    if half < 2:
        return f"{whole}."
    first, second = stats.median(ordered[:half]), stats.median(ordered[half:])
    return f"{whole}; median of the first half {number(first)}, of the second {number(second)}."


def _relative(group: Group, metric: str) -> Points:
    """Each trial's median over the median of its cell; the reference has one cell a T."""
    samples = group.readings.of(metric)
    cells: dict[tuple[str, int], Points] = {}
    for point in _trials(group):
        if point["trial"] in samples:
            point["value"] = stats.median(samples[point["trial"]])
            method = "" if metric == "time.reference" else point["method"]
            cells.setdefault((method, point["T"]), []).append(point)
    found = []
    for cell in cells.values():
        middle = stats.median([point["value"] for point in cell])
        found += [point | {"value": point["value"] / middle} for point in cell if middle > 0]
    return found


def _states(group: Group, facts: Mapping[str, Facts], read: Callable[[Facts], float]) -> Points:
    found = [point | {"value": read(facts.get(point["trial"], {}))} for point in _trials(group)]
    return [point for point in found if not math.isnan(point["value"])]


def _trials(group: Group) -> Points:
    timed = group.trials[group.trials["probe"].isin(["time", "energy"])]
    rows = records(timed[["trial", "method", "T", "order"]].sort_values("order"))
    for place, row in enumerate(rows):
        row["order"] = place if pd.isna(row["order"]) else int(row["order"])
    return rows
