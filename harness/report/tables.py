"""The tables of the report, as frames whose columns are the headings that people read.

A cell is text, a number, or an `Interval`; an absent number is NaN. A status stands in words where
a number would be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.report.estimates import Group
from harness.report.quantities import BASELINE, Quantity, words

VIEWS = ("absolute", "ratio")


@dataclass(frozen=True)
class Interval:
    """A number with its interval; `low` and `high` are NaN where there is none."""

    value: float
    low: float
    high: float


def verdict(
    group: Group, costs: pd.DataFrame, outcomes: pd.DataFrame, T: int | None
) -> pd.DataFrame:
    """One row per method: memory, time and their parts at one T, and accuracy."""
    here = costs[costs["T"] == T].set_index(["method", "quantity"])
    rows = []
    for method in group.methods:
        cell = {
            key: here.loc[(method, key)]
            for key in here.index.unique(1)
            if (method, key) in here.index
        }
        row: dict[str, Any] = {"method": method}
        row |= _headline(cell, "live_peak", "live peak (MiB)", f"memory × {BASELINE}")
        row["stored for backward (MiB)"] = _shown(cell.get("stored"))
        row |= _headline(cell, "step", "step (ms)", f"time × {BASELINE}")
        for key, heading in (
            ("forward", "forward"),
            ("trace", "of which trace"),
            ("backward", "backward"),
            ("update", "update"),
        ):
            row[f"{heading} (ms)"] = _plain(cell.get(key))
        rows.append(row | _accuracies(outcomes[outcomes["method"] == method]))
    return pd.DataFrame(rows).dropna(axis="columns", how="all")


def by_steps(group: Group, costs: pd.DataFrame, quantity: Quantity, view: str) -> pd.DataFrame:
    """One quantity, a row per method and a column per T; `view` is one of `VIEWS`."""
    rows = costs[costs["quantity"] == quantity.key].set_index(["method", "T"])
    table = []
    for method in group.methods:
        cells = {f"T={T}": _view(rows, method, T, view) for T in group.steps}
        table.append({"method": method, **cells})
    return pd.DataFrame(table)


def phases(group: Group, parts: pd.DataFrame) -> pd.DataFrame:
    """The stacked bars as a table, with the measured step beside the sum of its parts."""
    rows = parts.set_index("method")
    table = []
    for method in [method for method in group.methods if method in rows.index]:
        part: Any = rows.loc[method]
        stacked = part[["plain_forward", "trace", "backward", "update"]]
        note = part["note"] or ("" if part["status"] == "ok" else words(part["status"]))
        table.append(
            {
                "method": method,
                "plain forward (ms)": part["plain_forward"],
                "trace (ms)": part["trace"],
                "backward (ms)": part["backward"],
                "update (ms)": part["update"],
                "sum (ms)": stacked.sum() if part["status"] == "ok" else float("nan"),
                "step (ms)": part["step"],
                "note": note,
            }
        )
    return pd.DataFrame(table)


def accuracy(group: Group, outcomes: pd.DataFrame) -> pd.DataFrame:
    """Accuracy and what it cost in memory and time."""
    table = []
    for method in group.methods:
        for _, row in outcomes[outcomes["method"] == method].iterrows():
            table.append(
                {
                    "method": method,
                    "T": int(row["T"]),
                    "accuracy (%)": _accuracy(row),
                    "runs": int(row["runs"]),
                    "live peak of a step (MiB)": row["memory"],
                    "training time (s)": row["seconds"],
                }
            )
    return pd.DataFrame(table)


def trials(group: Group) -> pd.DataFrame:
    """Every trial of the group in the order in which it ran."""
    names = {
        "order": "order",
        "method": "method",
        "T": "T",
        "probe": "probe",
        "repeat": "repeat",
        "seed": "seed",
        "status": "status",
        "error": "error",
        "seconds": "seconds",
        "trial": "trial",
        "commit": "commit",
    }
    table = group.trials.sort_values("order")[list(names)].rename(columns=names)
    table["error"] = table["error"].astype(object).where(table["error"].notna(), "")
    table["commit"] = table["commit"].astype(object).where(table["commit"].notna(), "").str[:10]
    table["status"] = table["status"].map(words)
    return table.reset_index(drop=True)


def _headline(cell: dict[str, Any], key: str, value: str, ratio: str) -> dict[str, Any]:
    row = cell.get(key)
    return {value: _shown(row), ratio: float("nan") if row is None else row["ratio"]}


def _shown(row: Any) -> Any:
    """An interval, or the reason why there is none."""
    if row is None:
        return float("nan")
    if row["status"] != "ok":
        return words(row["status"])
    return Interval(row["value"], row["low"], row["high"])


def _plain(row: Any) -> Any:
    return float("nan") if row is None else row["value"]


def _view(rows: pd.DataFrame, method: str, T: int, view: str) -> Any:
    if (method, T) not in rows.index:
        return float("nan")
    row: Any = rows.loc[(method, T)]
    if row["status"] != "ok":
        return words(row["status"])
    if view == "absolute":
        return Interval(row["value"], row["low"], row["high"])
    if pd.notna(row["ratio"]):
        return Interval(row["ratio"], row["ratio_low"], row["ratio_high"])
    base = rows["status"].get((BASELINE, T), "missing")
    return f"{BASELINE}: {words(base)}" if base != "ok" else "not positive"


def _accuracy(row: Any) -> Any:
    if row["status"] != "ok":
        return words(row["status"])
    single = row["runs"] < 2
    low, high = (float("nan"),) * 2 if single else (row["low"], row["high"])
    return Interval(row["accuracy"], low, high)


def _accuracies(outcomes: pd.DataFrame) -> dict[str, Any]:
    several = outcomes["training"].nunique() > 1
    return {
        f"accuracy (%) at T={row['T']}" + (f", {row['training']}" if several else ""): _accuracy(
            row
        )
        for _, row in outcomes.iterrows()
    }
