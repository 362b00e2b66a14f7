"""The panel of a step's parts, stacked: seconds, bytes held, bytes moved, arithmetic, operators."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

import pandas as pd

from harness.report import axes
from harness.report.estimates import Group, centres_of, failure
from harness.report.marks import Figure, Trace, plain
from harness.report.parts import Panel, PanelControl, Variant
from harness.report.style import HELD, LIGHT, PHASES, Phase
from harness.results.estimates import records
from harness.results.quantities import MIB, MILLI, Quantity, number, words

NOTE = (
    "Forward trace: what the method adds to a forward without graph or trace. Memory is cut where "
    "it adds up: what persists, what is stored from forward to backward, what comes on top at the "
    "peak. Traffic: bytes that element-wise operators read and write."
)


@dataclass(frozen=True)
class Stack:
    """One thing that is cut into parts: `whole` and `parts` are quantities, parts by phase key.

    `forward` is the whole forward, for cells whose trace is absent or below zero by noise.
    """

    key: str
    label: str
    unit: str
    phases: tuple[Phase, ...]
    whole: Quantity
    parts: Mapping[str, Quantity]
    forward: Quantity | None = None


def _time() -> Stack:
    def of(name: str) -> Quantity:
        return Quantity(name, name, f"time.{name}", "", "time", "ms", MILLI)

    parts = {phase.key: of(phase.key) for phase in PHASES}
    return Stack("time", "Time", "ms", PHASES, of("step"), parts, of("forward"))


def _work(key: str, label: str, metric: str, unit: str, factor: float) -> Stack:
    def of(phase: str) -> Quantity:
        return Quantity(phase, phase, metric, phase, "memory", unit, factor)

    parts = {name: of(name) for name in ("plain_forward", "backward", "update")}
    return Stack(key, label, unit, PHASES, of("step"), parts, of("forward"))


def _memory() -> Stack:
    def of(metric: str, phase: str = "") -> Quantity:
        return Quantity(metric, metric, metric, phase, "memory", "MiB", MIB)

    parts = {"persistent": of("mem.persistent"), "stored": of("mem.live_after_forward")}
    return Stack("memory", "Memory", "MiB", HELD, of("mem.live_peak", "step"), parts)


STACKS: Final = (
    _time(),
    _memory(),
    _work("traffic", "Element-wise traffic", "ops.elem_bytes", "MiB", MIB),
    _work("flops", "Arithmetic", "ops.flops", "GFLOP", 1e-9),
    _work("operators", "Operators", "ops.count", "operators", 1.0),
)


def panel(group: Group) -> Panel:
    """A figure and a table for every stack and T that was measured; may be empty."""
    found = Panel("phases", "Where a step goes", NOTE)
    steps = sorted(group.steps, reverse=True)
    options = []
    for stack in STACKS:
        rows = frame(group, stack)
        if rows.empty or not rows["status"].eq("ok").any():
            continue
        options.append((stack.key, stack.label))
        for T in steps:
            here = rows[rows["T"] == T]
            if here.empty:
                continue
            name = f"{stack.key}-{T}"
            found.tables[name] = table(here, stack)
            drawn = figure(here, stack)
            found.variants[stack.key, str(T)] = Variant(drawn, name, sentence(here, stack, T))
    found.controls = [
        PanelControl("what", "Parts of", options),
        PanelControl("T", "Time steps T", [(str(T), str(T)) for T in steps]),
    ]
    return found


def frame(group: Group, stack: Stack) -> pd.DataFrame:
    """One row per method and T, in reading order.

    Columns: method, T, a column for each phase key, whole, status, note. A forward trace that is
    absent, or that noise made negative, cannot be stacked: then the forward is given whole, the
    trace as 0, and the note says so.
    """
    quantities = {"whole": stack.whole, **stack.parts}
    quantities |= {"forward": stack.forward} if stack.forward else {}
    found = {key: _medians(group, quantity) for key, quantity in quantities.items()}
    if not found["whole"]:
        return pd.DataFrame()
    order = {method: place for place, method in enumerate(group.methods)}
    rows: list[dict[str, Any]] = []
    for (method, T), trials in group.cells(stack.whole.probe).items():
        cell = {key: values.get((method, T), math.nan) for key, values in found.items()}
        row: dict[str, Any] = {"method": method, "T": T, "note": "", "whole": cell["whole"]}
        row["status"] = failure(trials) if math.isnan(cell["whole"]) else "ok"
        rows.append(row | (_phases(cell, stack) if stack.forward else _held(cell)))
    rows.sort(key=lambda row: order[row["method"]])
    return pd.DataFrame(rows)


def figure(rows: pd.DataFrame, stack: Stack) -> Figure:
    """A bar per method, its parts side by side."""
    cells = records(rows)[::-1]
    traces = [_bars(phase, stack, cells) for phase in stack.phases]
    traces += [_bar_note(row) for row in cells if row["status"] != "ok"]
    frame = axes.frame(f"{stack.label.lower()} of a step ({stack.unit})", "")
    frame["xaxis"] |= {"rangemode": "tozero"}
    frame["yaxis"] |= {"showgrid": False, "ticksuffix": "  "}
    frame["legend"] |= {"traceorder": "normal"}
    frame |= {"barmode": "stack", "bargap": 0.32, "height": axes.height(len(cells))}
    return {"data": traces, "layout": frame}


def table(rows: pd.DataFrame, stack: Stack) -> pd.DataFrame:
    """The bars as a table, with the measured whole beside the sum of its parts."""
    found = []
    for row in records(rows):
        parts = {f"{phase.label} ({stack.unit})": row[phase.key] for phase in stack.phases}
        total = sum(row[phase.key] for phase in stack.phases)
        note = row["note"] or ("" if row["status"] == "ok" else words(row["status"]))
        whole = "step" if stack.forward else "live peak"
        found.append(
            {"method": row["method"], **parts, f"sum ({stack.unit})": total,
             f"{whole} ({stack.unit})": row["whole"], "note": note}
        )  # fmt: skip
    return pd.DataFrame(found)


def sentence(rows: pd.DataFrame, stack: Stack, T: int) -> str:
    """Who has the least and the most, and how large the part is that the method adds."""
    good = [row for row in records(rows) if row["status"] == "ok"]
    if not good:
        return f"At T = {T}, no step was measured in all its parts."
    added = "trace" if stack.forward else "stored"
    label = next(phase.label for phase in stack.phases if phase.key == added)
    share = {
        row["method"]: 100 * row[added] / total
        for row in good
        if (total := sum(row[phase.key] for phase in stack.phases)) > 0
    }
    whole = {row["method"]: row["whole"] for row in good}
    low, high = min(share, key=share.__getitem__), max(share, key=share.__getitem__)
    short, long = min(whole, key=whole.__getitem__), max(whole, key=whole.__getitem__)
    return (
        f"At T = {T}, {label} takes between {number(share[low])} % ({low}) and "
        f"{number(share[high])} % ({high}); {stack.label.lower()} of a step is least for {short} "
        f"({number(whole[short])} {stack.unit}) and most for {long} "
        f"({number(whole[long])} {stack.unit})."
    )


def _medians(group: Group, quantity: Quantity) -> dict[tuple[str, int], float]:
    return {key: median(centres.values()) for key, centres in centres_of(group, quantity).items()}


def _phases(cell: Mapping[str, float], stack: Stack) -> dict[str, Any]:
    parts = {key: cell[key] for key in ("plain_forward", "backward", "update")}
    trace = cell.get("trace", cell["forward"] - cell["plain_forward"])
    if trace >= 0 or math.isnan(cell["forward"]):
        return parts | {"trace": trace}
    why = "not measured" if math.isnan(trace) else f"{trace:.2g} {stack.unit}"
    why += " is noise" if stack.key == "time" and trace < 0 else ""
    return parts | {
        "plain_forward": cell["forward"],
        "trace": 0.0,
        "note": f"trace {why}: forward shown whole",
    }


def _held(cell: Mapping[str, float]) -> dict[str, Any]:
    parts = {key: cell[key] for key in ("persistent", "stored")}
    return parts | {"peak": cell["whole"] - cell["stored"]}


def _bars(phase: Phase, stack: Stack, rows: Sequence[Mapping[str, Any]]) -> Trace:
    names = [html.escape(row["method"]) for row in rows]
    pattern = {"shape": phase.pattern, "fillmode": "overlay", "fgcolor": LIGHT["card"]}
    return {
        "type": "bar",
        "x": plain(row[phase.key] for row in rows),
        "y": names,
        "orientation": "h",
        "name": phase.label,
        "customdata": [row["method"] for row in rows],
        "marker": {
            "color": phase.colour,
            "line": {"color": LIGHT["card"], "width": 1},
            "pattern": pattern | {"size": 7, "solidity": 0.3},
        },
        "hovertext": [
            f"<b>{name}</b>, T = {row['T']}<br>{phase.label}: {number(row[phase.key])} {stack.unit}"
            for name, row in zip(names, rows, strict=True)
        ],
        "hoverinfo": "text",
    }


def _bar_note(row: Mapping[str, Any]) -> Trace:
    return {
        "type": "scatter",
        "x": [0],
        "y": [html.escape(row["method"])],
        "mode": "text",
        "text": [f"  no value: {words(row['status'])}"],
        "textposition": "middle right",
        "meta": row["method"],
        "showlegend": False,
        "hoverinfo": "skip",
        "textfont": {"color": LIGHT["muted"]},
    }
