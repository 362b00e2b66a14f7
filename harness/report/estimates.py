"""From raw samples to one estimate per method, T and quantity, with every cell accounted for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness import stats
from harness.report.quantities import ACCURACY, BASELINE, HEADLINE, TRAIN_TIME, Quantity

ORIGIN = ["environment", "measurement", "shared_code"]
"""What `harness.belong` wants equal; where a reader has asked to mix, it splits the groups."""

GROUP_BY = ["model", "data", "batch", "dtype", "device", *ORIGIN]

Samples = dict[tuple[int, int], list[float]]
"""(seed, repeat) -> samples of that process, in display units."""


@dataclass(frozen=True)
class Group:
    """The trials that may stand in one figure: they differ in method, T, seed and repeat alone."""

    label: str
    trials: pd.DataFrame
    measurements: pd.DataFrame

    @property
    def methods(self) -> list[str]:
        """Labels in reading order: the baseline, its family, then the others by family."""
        known = self.trials.drop_duplicates("method").fillna({"family": ""})
        home = set(known.loc[known["method"] == BASELINE, "family"])
        rows = zip(known["method"], known["family"], strict=True)
        order = sorted(rows, key=lambda r: (r[0] != BASELINE, r[1] not in home, r[1], r[0]))
        return [str(label) for label, _ in order]

    @property
    def steps(self) -> list[int]:
        """Every T that the cost probes asked for."""
        costs = self.trials[self.trials["probe"].isin(["memory", "time"])]
        return sorted(int(T) for T in costs["T"].unique())


def groups(trials: pd.DataFrame, measurements: pd.DataFrame) -> list[Group]:
    """Split trials into what may be compared, the group with most trials first.

    Costs belong to every training budget that was tried on their group.
    """
    named = [key for key in GROUP_BY if key not in ORIGIN or trials[key].nunique(dropna=False) > 1]
    found = []
    for _, part in trials.groupby(GROUP_BY, dropna=False, sort=True):
        label = " · ".join(_named(key, part[key].iloc[0]) for key in named)
        budgets = sorted(part["training"].dropna().unique())
        for budget in budgets or [None]:
            mine = part[part["training"].isna() | (part["training"] == budget)]
            rows = measurements[measurements["trial"].isin(mine["trial"])]
            found.append(Group(f"{label} · {budget}" if len(budgets) > 1 else label, mine, rows))
    return sorted(found, key=lambda group: -len(group.trials))


def estimate(group: Group, quantities: Sequence[Quantity]) -> pd.DataFrame:
    """One row per quantity, method and T that was asked for; only quantities that were measured.

    A headline quantity is there even if every trial failed: that is what there is to show.

    Columns: quantity, method, T, value, low, high (display unit), processes, basis, status ("ok",
    "missing", or why there is no value), note, ratio, ratio_low, ratio_high (to the baseline at
    the same T, over pairs of processes with equal seed and repeat). Absent numbers are NaN.
    """
    rows = []
    for quantity in quantities:
        trials = group.trials[group.trials["probe"] == quantity.probe]
        samples = samples_of(trials, group.measurements, quantity)
        if samples or quantity.key in HEADLINE:
            rows += [_row(quantity, key, part, samples) for key, part in _cells(trials)]
    columns = ["quantity", "method", "T", "value", "low", "high", "processes", "basis", "status"]
    columns += ["note", "ratio", "ratio_low", "ratio_high"]
    return pd.DataFrame(rows, columns=columns)


def common_steps(costs: pd.DataFrame) -> int | None:
    """The largest T at which all methods, or else most, have every quantity of the frame."""
    counts = (
        costs["status"].eq("ok").groupby([costs["method"], costs["T"]]).all().groupby("T").sum()
    )
    return int(counts[counts == counts.max()].index.max()) if len(counts) else None


def phases(costs: pd.DataFrame, T: int) -> pd.DataFrame:
    """Parts of a step at one T, one row per method, in ms.

    Columns: method, plain_forward, trace, backward, update, step, forward, status, note. A forward
    trace that is absent, or that noise made negative, cannot be stacked: then the forward is given
    whole, the trace as 0, and the note says so.
    """
    here = costs[costs["T"] == T]
    wide = here.pivot(index="method", columns="quantity", values="value")
    columns = ["plain_forward", "trace", "backward", "update", "step", "forward"]
    wide = wide.reindex(columns=columns).reset_index()
    step = here[here["quantity"] == "step"].set_index("method")["status"]
    wide["status"] = wide["method"].map(step).fillna("missing")
    wide["note"] = ""
    for row in wide.index[~(wide["trace"] >= 0) & wide["forward"].notna()]:
        trace = wide.loc[row, "trace"]
        why = "not measured" if pd.isna(trace) else f"{trace:.2g} ms is noise"
        wide.loc[row, "note"] = f"trace {why}: forward shown whole"
        wide.loc[row, "plain_forward"] = wide.loc[row, "forward"]
        wide.loc[row, "trace"] = 0.0
    return wide


def outcomes(group: Group, memory: pd.DataFrame) -> pd.DataFrame:
    """Accuracy after training: one row per budget, T and method, seeds and repeats pooled.

    Columns: training (the budget in words), T, method, accuracy, low, high (%; the range over
    runs), runs, seconds (training time of a run), memory (MiB, live peak of a step in the same
    group at the same T; NaN where no memory trial has it), status.
    """
    peaks = memory[memory["quantity"] == "live_peak"].set_index(["method", "T"])["value"]
    rows = []
    trainings = group.trials[group.trials["probe"] == "accuracy"].groupby("training")
    for training, trials in trainings:
        final = samples_of(trials, group.measurements, ACCURACY)
        seconds = samples_of(trials, group.measurements, TRAIN_TIME)
        for key, part in _cells(trials):
            row: dict[str, object] = {"training": training, "method": key[0], "T": key[1]}
            runs = [values[-1] for values in final.get(key, {}).values()]
            row |= {"memory": peaks.get(key, math.nan), "runs": len(runs), "status": _failure(part)}
            if runs:
                row |= {"accuracy": stats.median(runs), "low": min(runs), "high": max(runs)}
                row |= {"status": "ok"}
            if key in seconds:
                row["seconds"] = stats.median([sum(run) for run in seconds[key].values()])
            rows.append(row)
    columns = ["training", "T", "method", "accuracy", "low", "high", "runs", "seconds", "memory"]
    return pd.DataFrame(rows, columns=[*columns, "status"])


def _cells(trials: pd.DataFrame) -> list[tuple[tuple[str, int], pd.DataFrame]]:
    found: Any = trials.groupby(["method", "T"], sort=True)
    return [((str(method), int(T)), part) for (method, T), part in found]


def samples_of(
    trials: pd.DataFrame, measurements: pd.DataFrame, quantity: Quantity
) -> dict[tuple[str, int], Samples]:
    """(method, T) -> samples of one quantity by process, in display units."""
    rows = measurements[measurements["metric"] == quantity.metric]
    if quantity.phase:
        rows = rows[rows["phase"] == quantity.phase]
    rows = rows.sort_values("sample").merge(
        trials[["trial", "method", "T", "seed", "repeat"]], on="trial"
    )
    found: dict[tuple[str, int], Samples] = {}
    keys = ["method", "T", "seed", "repeat"]
    parts: Any = rows.groupby(keys)
    for (method, T, seed, repeat), part in parts:
        values = [float(value) * quantity.factor for value in part["value"]]
        found.setdefault((str(method), int(T)), {})[int(seed), int(repeat)] = values
    return found


def _row(
    quantity: Quantity,
    key: tuple[str, int],
    trials: pd.DataFrame,
    samples: dict[tuple[str, int], Samples],
) -> dict[str, object]:
    method, T = key
    row = {"quantity": quantity.key, "method": method, "T": T, "processes": 0, "basis": "none"}
    row["status"] = _failure(trials)
    failed = int((trials["status"] != "ok").sum())
    row["note"] = f"{failed} of {len(trials)} repeats failed" if failed else ""
    if key not in samples:
        return row
    found = stats.summarise(list(samples[key].values()))
    row |= {"value": found.value, "low": found.low, "high": found.high, "status": "ok"}
    row |= {"processes": found.processes, "basis": found.basis}
    ratio = _ratio(samples[key], samples.get((BASELINE, T), {}))
    if ratio is not None:
        row |= {"ratio": ratio.value, "ratio_low": ratio.low, "ratio_high": ratio.high}
    return row


def _failure(trials: pd.DataFrame) -> str:
    """Why trials have no value: their most frequent bad end, or that nothing was measured."""
    failed = trials.loc[trials["status"] != "ok", "status"]
    return str(failed.mode().iloc[0]) if len(failed) else "missing"


def _ratio(samples: Samples, baseline: Samples) -> stats.Estimate | None:
    """Ratio over the pairs that both sides finished; None where there is no such ratio."""
    pairs = sorted(samples.keys() & baseline.keys())
    above = [stats.median(samples[pair]) for pair in pairs]
    below = [stats.median(baseline[pair]) for pair in pairs]
    if not pairs or min(above + below) <= 0:
        return None
    return stats.paired_ratio(above, below)


def _named(key: str, value: object) -> str:
    if key in ORIGIN:
        return f"{key.replace('_', ' ')} {str(value)[:8]}"
    return f"batch {value}" if key == "batch" else str(value)
