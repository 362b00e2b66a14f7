"""One sentence per figure, generated from its frame: the text alternative and the caption."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from harness.report.estimates import common_steps
from harness.results.estimates import records
from harness.results.quantities import BASELINE, HEADLINE, Quantity, number, words

Rows = list[dict[str, Any]]


def by_steps(costs: pd.DataFrame, quantity: Quantity, view: str) -> str:
    """The range over methods at the largest common T, how it grew, and what has no value."""
    frame = costs[costs["quantity"] == quantity.key]
    rows, last = records(frame), common_steps(frame)
    column = "ratio" if view == "ratio" else "value"
    unit = f"× {BASELINE}" if view == "ratio" else quantity.unit
    first = min(row["T"] for row in rows)
    ends = _known(rows, last, column)
    if last is None or not ends:
        return f"{quantity.label}: nothing to compare{_lost(rows)}."
    low, high = _ends(ends)
    text = (
        f"At T = {last}, {_lower(quantity.label)} is lowest for {low} "
        f"({number(ends[low])} {unit}) and highest for {high} ({number(ends[high])} {unit})"
    )
    starts = _known(rows, first, column)
    growth = {name: ends[name] / starts[name] for name in ends if starts.get(name, 0.0) > 0}
    if view == "absolute" and first != last and growth:
        least, most = _ends(growth)
        text += (
            f"; from T = {first} to {last} it changes by a factor of {number(growth[least])} "
            f"for {least} and {number(growth[most])} for {most}"
        )
    return f"{text}{_lost(rows)}."


def verdict(costs: pd.DataFrame, T: int | None) -> str:
    """Which method needs least memory and which least time at `T`, from `common_steps`."""
    head = costs[costs["quantity"].isin(HEADLINE) & (costs["T"] == T)]
    whole = head.groupby("method")["status"].apply(lambda s: s.eq("ok").all())
    who = f"all {len(whole)} methods" if whole.all() else f"{whole.sum()} of {len(whole)} methods"
    parts = []
    for key, verb in (("live_peak", "needs the least memory"), ("step", "takes the least time")):
        here = records(head[head["quantity"] == key])
        values, ratios, unit = _known(here, T, "value"), _known(here, T, "ratio"), BASELINE
        frozen = _known(records(costs[costs["quantity"] == "ratio_step"]), T, "value")
        if key == "step" and frozen:
            ratios, unit = frozen, "the reference"
        if values:
            name = _ends(values)[0]
            against = f" ({number(ratios[name])} × {unit})" if name in ratios else ""
            parts.append(f"{name} {verb}{against}")
    where = f"At T = {T}, the largest that {who} finished"
    return f"{where}, {' and '.join(parts)}." if parts else "No cost was measured."


def _known(rows: Rows, T: int | None, column: str) -> dict[str, float]:
    """Method -> number at one T, where the cell has one."""
    here = [row for row in rows if row["T"] == T and row["status"] == "ok"]
    return {row["method"]: row[column] for row in here if not math.isnan(row[column])}


def _ends(values: dict[str, float]) -> tuple[str, str]:
    """The methods with the least and the greatest number."""
    return min(values, key=values.__getitem__), max(values, key=values.__getitem__)


def _lost(rows: Rows) -> str:
    lost = [row for row in rows if row["status"] != "ok"]
    if not lost:
        return ""
    named = [f"{row['method']} at T = {row['T']} ({words(row['status'])})" for row in lost[:3]]
    more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
    return f"; no value for {', '.join(named)}{more}"


def _lower(label: str) -> str:
    return label if label.split()[0].isupper() else label[0].lower() + label[1:]
