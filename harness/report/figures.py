"""Plotly figures from frames of estimates. Nothing is computed here but positions on the page.

Colours are those of the light theme; the page swaps them for the dark one. Every trace of a method
carries the method's label as `meta`, every bar of a mixed trace as `customdata`, so that the page
can hide a method in all figures at once.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from harness import stats
from harness.report import axes
from harness.report.quantities import BASELINE, Quantity, number, words
from harness.report.style import LIGHT, PHASES, Look, Phase

Looks = Mapping[str, Look]


def by_steps(
    costs: pd.DataFrame,
    quantity: Quantity,
    view: str,
    methods: Sequence[str],
    looks: Looks,
) -> go.Figure:
    """One quantity against T, a line per method; cells without a value as open markers on top.

    Both axes are logarithmic; `scales` has what makes them linear.

    Parameters
    ----------
    costs:
        Frame of `estimates.estimate`.
    view:
        "absolute" or "ratio".
    methods:
        Labels in legend order.
    """
    rows = costs[costs["quantity"] == quantity.key]
    value = "ratio" if view == "ratio" else "value"
    lanes = _lanes(rows[rows["status"] != "ok"])
    traces = []
    for method in methods:
        mine = rows[rows["method"] == method].sort_values("T")
        drawn = mine[mine["status"].eq("ok") & mine[value].notna()]
        lost = mine[mine["status"] != "ok"]
        if len(drawn):
            traces.append(_line(method, drawn, value, quantity, looks[method]))
        if len(lost):
            named = not len(drawn)
            traces.append(_open(method, lost, lost["T"], lanes, looks[method], named))
    unit = f"× {BASELINE}" if view == "ratio" else quantity.unit
    log = scales(costs, quantity, view)["log"]
    layout = axes.layout("time steps T", f"{quantity.label} ({unit})", lanes.values())
    layout["xaxis"] |= log["xaxis"]
    layout["yaxis"] |= log["yaxis"]
    if view == "ratio":
        layout["shapes"].append(axes.line_at_one())
    return go.Figure(traces, layout)


def scales(costs: pd.DataFrame, quantity: Quantity, view: str) -> dict[str, axes.Patch]:
    """Scale -> what it changes in the axes of `by_steps`."""
    rows = costs[costs["quantity"] == quantity.key]
    columns = ["ratio", "ratio_low", "ratio_high"] if view == "ratio" else ["value", "low", "high"]
    good = rows[rows["status"] == "ok"]
    values = pd.concat([good[column] for column in columns]).dropna()
    steps = sorted(int(T) for T in set(rows["T"]))
    return {
        scale: {"xaxis": axes.steps(steps, scale), "yaxis": axes.values(values, scale)}
        for scale in axes.SCALES
    }


def phases(parts: pd.DataFrame, methods: Sequence[str]) -> go.Figure:
    """Forward, trace, backward and update stacked, a bar per method, at the T of `parts`."""
    known = parts.set_index("method")
    shown = [method for method in reversed(methods) if method in known.index]
    failed = [method for method in shown if known.loc[method, "status"] != "ok"]
    traces = [_bars_of(phase, shown, known.loc[shown, phase.key]) for phase in PHASES]
    traces += [_bar_note(method, words(known.loc[method, "status"])) for method in failed]
    layout = axes.layout("time of a step (ms)", "")
    layout["xaxis"] |= {"rangemode": "tozero"}
    layout["yaxis"] |= {"showgrid": False, "ticksuffix": "  "}
    layout["legend"] |= {"traceorder": "normal"}
    return go.Figure(traces, layout | {"barmode": "stack", "bargap": 0.32})


def accuracy(outcomes: pd.DataFrame, methods: Sequence[str], looks: Looks) -> go.Figure:
    """Accuracy against memory at one training T, a marker per method, the range of runs as bars.

    A method without a memory figure at that T has no place here; the sentence and the table say so.
    """
    known = outcomes[outcomes["memory"].notna()]
    lanes = _lanes(known[known["status"] != "ok"], "memory")
    traces = []
    for method in methods:
        mine = known[known["method"] == method]
        if mine["status"].eq("ok").any():
            traces.append(_marker(method, mine, looks[method]))
        elif len(mine):
            bad = mine.assign(note="")
            traces.append(_open(method, bad, bad["memory"], lanes, looks[method], True))
    layout = axes.layout("live tensor peak of a step (MiB)", "test accuracy (%)", lanes.values())
    layout["xaxis"] |= {"rangemode": "tozero"}
    return go.Figure(traces, layout)


def _line(
    method: str, rows: pd.DataFrame, value: str, quantity: Quantity, look: Look
) -> go.Scatter:
    low, high = ("ratio_low", "ratio_high") if value == "ratio" else ("low", "high")
    unit = "×" if value == "ratio" else quantity.unit
    return go.Scatter(
        x=_plain(rows["T"]),
        y=_plain(rows[value]),
        error_y=_bars(rows[value], rows[low], rows[high], look),
        hovertext=[_hover(method, row, value, low, high, unit) for _, row in rows.iterrows()],
        mode="lines+markers",
        line={"color": look.colour, "dash": look.dash, "width": 2},
        **_signs(method, look, look.symbol),
    )


def _marker(method: str, rows: pd.DataFrame, look: Look) -> go.Scatter:
    text = [
        f"<b>{html.escape(method)}</b>, T = {row['T']}<br>{number(row['accuracy'])} % "
        f"({row['runs']} run{'s' if row['runs'] > 1 else ''})<br>{number(row['memory'])} MiB"
        for _, row in rows.iterrows()
    ]
    return go.Scatter(
        x=_plain(rows["memory"]),
        y=_plain(rows["accuracy"]),
        error_y=_bars(rows["accuracy"], rows["low"], rows["high"], look),
        hovertext=text,
        mode="markers",
        **_signs(method, look, look.symbol, size=12),
    )


def _open(
    method: str,
    rows: pd.DataFrame,
    positions: pd.Series[Any],
    lanes: Mapping[tuple[str, float], int],
    look: Look,
    named: bool,
) -> go.Scatter:
    """Open markers in the strip above the plot, one lane per method that shares a position."""
    text = [
        f"<b>{html.escape(method)}</b>, T = {row['T']}<br>{words(row['status'])}<br>{row['note']}"
        for _, row in rows.iterrows()
    ]
    signs = _signs(method, look, f"{look.symbol}-open", size=10)
    return go.Scatter(
        x=_plain(positions),
        y=[lanes[method, position] for position in positions],
        yaxis="y2",
        hovertext=text,
        mode="markers",
        **(signs | {"showlegend": named}),
    )


def _signs(method: str, look: Look, symbol: str, size: int = 9) -> dict[str, Any]:
    hollow = symbol.endswith("-open")
    size += 2 if symbol.startswith(("triangle", "star")) else 0  # these fill less of their box
    edge = {"color": look.colour if hollow else LIGHT["card"], "width": 2 if hollow else 1}
    return {
        "name": html.escape(method),
        "meta": method,
        "legendgroup": html.escape(method),
        "hoverinfo": "text",
        "marker": {"color": look.colour, "symbol": symbol, "size": size, "line": edge},
    }


def _bars(
    value: pd.Series[Any], low: pd.Series[Any], high: pd.Series[Any], look: Look
) -> dict[str, Any]:
    above, below = (high - value).fillna(0.0), (value - low).fillna(0.0)
    return {
        "type": "data",
        "symmetric": False,
        "array": _plain(above),
        "arrayminus": _plain(below),
        "visible": bool((above > 0).any() or (below > 0).any()),
        "color": look.colour,
        "thickness": 1.2,
        "width": 4,
    }


def _hover(method: str, row: Any, value: str, low: str, high: str, unit: str) -> str:
    text = f"<b>{html.escape(method)}</b>, T = {row['T']}<br>{number(row[value])} {unit}"
    if pd.notna(row[low]) and row[low] < row[high]:
        text += f" [{number(row[low])} – {number(row[high])}]"
    basis = {
        "processes": _over(int(row["processes"])),
        "samples": "interquartile range of one process's samples",
        "none": "one sample",
    }[row["basis"]]
    if value == "ratio" and row["basis"] != "processes":
        basis = "one pair of processes"
    return "<br>".join(part for part in (text, basis, row["note"]) if part)


def _over(processes: int) -> str:
    """What an interval over processes is; of few it is their range, and promises no level."""
    kind = "95 % bootstrap over" if processes >= stats.ENOUGH else "range of"
    return f"{kind} {processes} processes"


def _lanes(lost: pd.DataFrame, position: str = "T") -> dict[tuple[str, float], int]:
    """(method, position) -> lane, so that markers at one position stand above each other."""
    ordered = lost.sort_values([position, "method"])
    lanes = [int(lane) for lane in ordered.groupby(position).cumcount()]
    return dict(zip(zip(ordered["method"], ordered[position], strict=True), lanes, strict=True))


def _bars_of(phase: Phase, methods: Sequence[str], widths: pd.Series[Any]) -> go.Bar:
    names = [html.escape(method) for method in methods]
    pattern = {"shape": phase.pattern, "fillmode": "overlay", "fgcolor": LIGHT["card"]}
    return go.Bar(
        x=_plain(widths),
        y=names,
        orientation="h",
        name=phase.label,
        customdata=list(methods),
        marker={
            "color": phase.colour,
            "line": {"color": LIGHT["card"], "width": 1},
            "pattern": pattern | {"size": 7, "solidity": 0.3},
        },
        hovertext=[
            f"<b>{name}</b><br>{phase.label}: {number(width)} ms"
            for name, width in zip(names, widths, strict=True)
        ],
        hoverinfo="text",
    )


def _bar_note(method: str, text: str) -> go.Scatter:
    return go.Scatter(
        x=[0],
        y=[html.escape(method)],
        mode="text",
        text=[f"  no value: {text}"],
        textposition="middle right",
        meta=method,
        showlegend=False,
        hoverinfo="skip",
        textfont={"color": LIGHT["muted"]},
    )


def _plain(values: pd.Series[Any]) -> list[Any]:
    """Python numbers of seven digits; Plotly would pack an array into base64."""
    return [None if pd.isna(value) else float(f"{value:.7g}") for value in values]
