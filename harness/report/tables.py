"""The tables of the report, as frames whose columns are the headings that people read.

A cell is text, a number, an `Interval`, or a `Command`; an absent number is NaN. A status stands in
words where a number would be.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.report.estimates import Group
from harness.results.estimates import records
from harness.results.quantities import BASELINE, Quantity, words

VIEWS = ("absolute", "ratio")


@dataclass(frozen=True)
class Interval:
    """A number with its interval; `low` and `high` are NaN where there is none."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Command:
    """A command line that a reader may copy; the cell shows that there is one."""

    text: str


def verdict(
    group: Group, costs: pd.DataFrame, outcomes: pd.DataFrame, T: int | None
) -> pd.DataFrame:
    """One row per method at one T: memory, time, trace, energy; and the accuracy after training."""
    known = {(row["method"], row["quantity"]): row for row in records(costs[costs["T"] == T])}
    trained = dict(iter(outcomes.groupby("method")))
    base = _finals(trained.get(BASELINE))
    rows = []
    for method in group.methods:
        cell = {key: row for (name, key), row in known.items() if name == method}
        rows.append(
            {
                "method": method,
                "memory (MiB)": _shown(cell.get("live_peak")),
                f"memory × {BASELINE}": _ratio(cell.get("live_peak")),
                "stored (MiB)": _shown(cell.get("stored")),
                "step (ms)": _shown(cell.get("step")),
                "time × reference": _shown(cell.get("ratio_step")),
                f"time × {BASELINE}": _ratio(cell.get("step")),
                "trace (ms)": _value(cell.get("trace")),
                "trace (MiB)": _value(cell.get("trace_bytes")),
                "energy (mJ/sample)": _shown(cell.get("energy_sample")),
                **_accuracies(trained.get(method), base),
            }
        )
    table = pd.DataFrame(rows).dropna(axis="columns", how="all")
    if "time × reference" in table:  # the same question, and the better answer
        table = table.drop(columns=f"time × {BASELINE}", errors="ignore")
    return table


def by_steps(group: Group, costs: pd.DataFrame, quantity: Quantity, view: str) -> pd.DataFrame:
    """One quantity, a row per method and a column per T; `view` is one of `VIEWS`."""
    rows = {
        (row["method"], row["T"]): row for row in records(costs[costs["quantity"] == quantity.key])
    }
    steps = sorted({T for _, T in rows})
    table = []
    for method in group.methods:
        cells = {f"T={T}": _view(rows, method, T, view) for T in steps}
        table.append({"method": method, **cells})
    return pd.DataFrame(table)


def trials(group: Group, found: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Every trial of the group in running order, with the command that measures it again."""
    columns = ["order", "method", "T", "probe", "repeat", "seed", "status", "error", "seconds"]
    rows = []
    table = group.trials.sort_values("order")[[*columns, "trial", "commit"]]
    for row in records(table):
        texts = {key: "" if pd.isna(row[key]) else str(row[key]) for key in ("error", "commit")}
        row |= texts | {"status": words(row["status"]), "commit": texts["commit"][:10]}
        command = again(found.get(str(row["trial"]), {}))
        rows.append(row | {"command": Command(command) if command else ""})
    return pd.DataFrame(rows)


def again(record: Mapping[str, Any]) -> str:
    """The command line that runs one trial again, at the commit that it was measured at.

    It leaves out what the runner pins around it (allocator, threads); those are among its facts.
    """
    if "cell" not in record:
        return ""
    keys = ("trial", "sweep", "cell", "probe", "repeat", "order", "timeout_s", "environment")
    spec = {key: record.get(key) for key in keys} | {"code": record["code"]["digest"]}
    spec |= {"measurement": record.get("measurement"), "timeout_s": record.get("timeout_s") or 0.0}
    text = json.dumps(spec, separators=(",", ":")).replace("'", "'\\''")
    commit = record["code"].get("commit")
    checkout = f"git checkout {commit} && " if commit else ""
    return f"{checkout}echo '{text}' | python -m harness.trial.worker - -"


def _shown(row: Any) -> Any:
    """An interval, or the reason why there is none."""
    if row is None:
        return math.nan
    if row["status"] != "ok":
        return words(row["status"])
    return Interval(row["value"], row["low"], row["high"])


def _value(row: Any) -> Any:
    return math.nan if row is None else row["value"]


def _ratio(row: Any) -> Any:
    return math.nan if row is None else row["ratio"]


def _view(rows: Mapping[tuple[str, int], Any], method: str, T: int, view: str) -> Any:
    row = rows.get((method, T))
    if row is None:
        return math.nan
    if row["status"] != "ok":
        return words(row["status"])
    if view == "absolute":
        return Interval(row["value"], row["low"], row["high"])
    if pd.notna(row["ratio"]):
        return Interval(row["ratio"], row["ratio_low"], row["ratio_high"])
    base = rows[BASELINE, T]["status"] if (BASELINE, T) in rows else "missing"
    return f"{BASELINE}: {words(base)}" if base != "ok" else "not positive"


def _finals(outcomes: pd.DataFrame | None) -> dict[int, float]:
    if outcomes is None:
        return {}
    return dict(zip(outcomes["T"], outcomes["accuracy"], strict=True))


def _accuracies(outcomes: pd.DataFrame | None, base: Mapping[int, float]) -> dict[str, Any]:
    """Accuracy at the largest T that was trained, and what that is above the baseline's."""
    if outcomes is None:
        return {}
    row: Any = outcomes.sort_values("T").iloc[-1]
    T = int(row["T"])
    found = {f"accuracy (%) at T={T}": accuracy(row)}
    if row["status"] == "ok" and T in base:
        found[f"accuracy − {BASELINE}"] = row["accuracy"] - base[T]
    return found


def accuracy(row: Any) -> Any:
    """An accuracy with its range over runs, or why there is none."""
    if row["status"] != "ok":
        return words(row["status"])
    low, high = (row["low"], row["high"]) if row["runs"] > 1 else (math.nan, math.nan)
    return Interval(row["accuracy"], low, high)
