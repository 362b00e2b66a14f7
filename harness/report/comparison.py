"""Two runs side by side: what changed from the first to the second, and what only scattered.

The runs must share machine and software (the environment) and the meaning of the figures (the
measurement version). Code and commit may differ: what they changed is the question.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import pandas as pd

from harness.report import axes, marks
from harness.report.estimates import Group, centres_of
from harness.report.marks import Figure, Looks, Trace
from harness.report.panels import Sheet
from harness.report.parts import Panel, PanelControl, Variant
from harness.report.tables import Interval
from harness.results import stats
from harness.results.quantities import ACCURACY, COSTS, Quantity, number

NOTE = (
    "The second run over the first. Exact figures are equal or they changed; banded ones may "
    "differ by 2 %; noisy ones changed if the 95 % interval of the ratio, a bootstrap over the "
    "processes of both runs, leaves out 1. With fewer than six processes the interval is the "
    "range of all quotients, and with fewer than four on a side nothing is claimed: chance alone "
    "parts three from three one time in ten."
)
BAND: Final = 0.02
SAME, MORE, LESS, UNSURE = "no change", "more", "less", "too few processes"
FEWEST: Final = 4
"""Processes on a side from which ranges that do not overlap are rarer than 1 in 20 by chance."""

BANDED: Final = ("cuda.", "nvml.", "cpu.", "mem.workspace")
EXACT: Final = ("mem.", "ops.")

Changes = list[dict[str, Any]]


def pairs(first: Sequence[Group], second: Sequence[Group]) -> list[tuple[Group, Group]]:
    """Groups of the two runs that were measured in the same place."""
    known = {group.key: group for group in first}
    found = [(known.get(group.key), group) for group in second]
    return [(old, new) for old, new in found if old is not None]


def sheet(first: Group, second: Group, looks: Looks) -> Sheet:
    """The verdict on every method and the ratio of every quantity at every T."""
    both = Group(second.place, pd.concat([first.trials, second.trials]), second.readings)
    panel = Panel("change", "Change from the first run to the second", NOTE)
    options, every = [], {}
    for quantity in (*COSTS, ACCURACY):
        rows = changes(first, second, quantity)
        if not rows:
            continue
        every[quantity.key] = rows
        options.append((quantity.key, quantity.label))
        panel.tables[quantity.key] = table(rows, quantity)
        drawn = figure(rows, quantity, both.methods, looks)
        panel.variants[(quantity.key,)] = Variant(drawn, quantity.key, sentence(rows, quantity))
    panel.controls = [PanelControl("quantity", "Quantity", options)]
    columns = ["order", "method", "T", "probe", "repeat", "seed", "status", "trial", "commit"]
    trials = pd.concat(
        [part.trials[columns].assign(run=name) for name, part in (("1", first), ("2", second))]
    )
    text = " ".join(sentence(rows, _quantity(key)) for key, rows in every.items() if key in _HEAD)
    return Sheet(both, verdict(every, both.methods), text, [panel], trials.fillna(""))


def changes(first: Group, second: Group, quantity: Quantity) -> Changes:
    """One row per method and T that both runs have: both values, ratio with interval, verdict."""
    old, new = centres_of(first, quantity), centres_of(second, quantity)
    found = []
    for method, T in sorted(old.keys() & new.keys()):
        before, after = (list(side[method, T].values()) for side in (old, new))
        value, low, high = _ratio(before, after)
        row: dict[str, Any] = {"method": method, "T": T, "ratio": value, "low": low, "high": high}
        row |= {"first": stats.median(before), "second": stats.median(after)}
        row |= {"processes": (len(before), len(after))}
        found.append(row | {"verdict": judge(row, quantity)})
    return found


def judge(row: Mapping[str, Any], quantity: Quantity) -> str:
    """What became of a figure, by the rule of its kind."""
    if row["first"] == row["second"]:
        return SAME
    if quantity.metric.startswith(BANDED):
        low = high = row["ratio"] if abs(row["ratio"] - 1) > BAND else 1.0
    elif quantity.metric.startswith(EXACT):
        return MORE if row["second"] > row["first"] else LESS
    elif min(row["processes"]) < FEWEST:
        return UNSURE
    else:
        low, high = row["low"], row["high"]
    if math.isnan(low):
        return "no ratio"
    return MORE if low > 1 else LESS if high < 1 else SAME


def verdict(every: Mapping[str, Changes], methods: Sequence[str]) -> pd.DataFrame:
    """A row per method: the headlines at the largest T that both runs have."""
    found = []
    for method in methods:
        row: dict[str, Any] = {"method": method}
        for key in [key for key in _HEAD if key in every]:
            T = max(change["T"] for change in every[key])
            here = [c for c in every[key] if (c["method"], c["T"]) == (method, T)]
            for last in here:
                name = f"{_HEAD[key]} at T={T}"
                row |= {f"change of {name}": Interval(last["ratio"], last["low"], last["high"])}
                row |= {name: last["verdict"]}
        found.append(row)
    return pd.DataFrame(found)


def figure(rows: Changes, quantity: Quantity, methods: Sequence[str], looks: Looks) -> Figure:
    """The ratio against T, a line per method."""
    traces: list[Trace] = []
    for method in methods:
        mine = [row for row in rows if row["method"] == method and not math.isnan(row["ratio"])]
        if not mine:
            continue
        value, low, high = ([row[key] for row in mine] for key in ("ratio", "low", "high"))
        traces.append(
            marks.signs(method, looks[method])
            | {
                "x": [row["T"] for row in mine],
                "y": marks.plain(value),
                "error_y": marks.bars(value, low, high, looks[method]),
                "mode": "lines+markers",
                "line": marks.line(looks[method]),
                "hovertext": [_hover(row, quantity) for row in mine],
            }
        )
    frame = axes.frame("time steps T", f"{quantity.label}, second / first")
    frame["xaxis"] |= axes.steps(sorted({row["T"] for row in rows}), "log")
    frame["shapes"].append(axes.line_at_one())
    return {"data": traces, "layout": frame}


def table(rows: Changes, quantity: Quantity) -> pd.DataFrame:
    """Every cell that both runs have."""
    return pd.DataFrame(
        {
            "method": row["method"],
            "T": row["T"],
            f"first ({quantity.unit})": row["first"],
            f"second ({quantity.unit})": row["second"],
            "second / first": Interval(row["ratio"], row["low"], row["high"]),
            "verdict": row["verdict"],
        }
        for row in rows
    )


def sentence(rows: Changes, quantity: Quantity) -> str:
    """How many cells changed, and the one that changed most."""
    changed = [row for row in rows if row["verdict"] in (MORE, LESS)]
    unsure = sum(row["verdict"] == UNSURE for row in rows)
    if not changed and unsure:
        return f"{quantity.label}: {unsure} of {len(rows)} cells have too few processes to tell."
    if not changed:
        return f"{quantity.label}: none of {len(rows)} cells changed."
    most = max(changed, key=lambda row: abs(math.log(row["ratio"])) if row["ratio"] > 0 else 0.0)
    more = sum(row["verdict"] == MORE for row in changed)
    return (
        f"{quantity.label}: {more} of {len(rows)} cells have more, {len(changed) - more} less; "
        f"most changed is {most['method']} at T = {most['T']} ({number(most['ratio'])} ×)."
    )


_HEAD: Final = {"live_peak": "memory", "ratio_step": "time × reference", "step": "step",
                "accuracy": "accuracy"}  # fmt: skip


def _quantity(key: str) -> Quantity:
    return next(quantity for quantity in (*COSTS, ACCURACY) if quantity.key == key)


def _ratio(before: Sequence[float], after: Sequence[float]) -> tuple[float, float, float]:
    """Median ratio with its interval; NaN where a number is not positive."""
    if min([*before, *after]) <= 0:
        return (math.nan,) * 3
    found = stats.unpaired_ratio(after, before)
    return found.value, found.low, found.high


def _hover(row: Mapping[str, Any], quantity: Quantity) -> str:
    first, second = row["processes"]
    return marks.hover(
        row["method"],
        row["T"],
        f"{number(row['first'])} → {number(row['second'])} {quantity.unit}",
        marks.interval(row["ratio"], row["low"], row["high"], "×"),
        f"{first} and {second} processes",
        row["verdict"],
    )
