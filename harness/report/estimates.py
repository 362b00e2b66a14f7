"""From raw samples to one estimate per method, T and quantity, with every cell accounted for."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from harness.results import estimates, stats
from harness.results.estimates import Readings
from harness.results.quantities import ACCURACY, BASELINE, HEADLINE, TRAIN_TIME, Quantity
from harness.spec import AXES, SPLITS

ORIGIN = ["environment", "measurement", "shared_code"]
"""What `results.comparable` wants equal; where a reader has asked to mix, it splits the groups."""

NAMED = len(SPLITS)
"""How many parts of a group's key say where it was measured."""

GROUP_BY = [*SPLITS, *ORIGIN]

Centres = dict[tuple[int, int], float]
"""(seed, repeat) -> what that process says of a quantity, in display units."""


@dataclass(frozen=True)
class Group:
    """The trials that may stand in one figure: they differ in method, T, seed and repeat alone.

    `place` names what they have in common, in words: network, data, batch, ...
    """

    place: Mapping[str, str]
    trials: pd.DataFrame
    readings: Readings

    @property
    def label(self) -> str:
        """The place in one line."""
        said = {"batch": "batch {}", **{name: name.replace("_", " ") + " {}" for name in ORIGIN}}
        return " · ".join(
            said.get(name, "{}").format(value) for name, value in self.place.items() if value
        )

    @cached_property
    def key(self) -> tuple[str, ...]:
        """What two groups of different runs share if they were measured in one place."""
        first = self.trials.iloc[0]
        axes = [str(first[name]) for name in SPLITS]
        return (*axes, *(self.place.get(name, "") for name in ("training", *ORIGIN)))

    @cached_property
    def methods(self) -> list[str]:
        """Labels in reading order: the baseline, its family, then the others by family."""
        known = self.trials.drop_duplicates("method").fillna({"family": ""})
        home = set(known.loc[known["method"] == BASELINE, "family"])
        rows = zip(known["method"], known["family"], strict=True)
        order = sorted(rows, key=lambda r: (r[0] != BASELINE, r[1] not in home, r[1], r[0]))
        return [str(label) for label, _ in order]

    @cached_property
    def steps(self) -> list[int]:
        """Every T that the cost probes asked for."""
        costs = self.trials[self.trials["probe"].isin(["memory", "time"])]
        return sorted(int(T) for T in costs["T"].unique())

    @cached_property
    def _cells(self) -> dict[str, dict[tuple[str, int], list[dict[str, Any]]]]:
        where = ["probe", "method", "T"]
        found: dict[str, dict[tuple[str, int], list[dict[str, Any]]]] = {}
        trials = self.trials[[*where, "trial", "seed", "repeat", "status"]]
        for (probe, method, T), rows in estimates.cells(trials, where).items():
            found.setdefault(str(probe), {})[str(method), int(T)] = rows
        return found

    def cells(self, probe: str) -> dict[tuple[str, int], list[dict[str, Any]]]:
        """(method, T) -> the trials of a probe, sorted by method and T."""
        return dict(sorted(self._cells.get(probe, {}).items()))


def groups(trials: pd.DataFrame, measurements: pd.DataFrame) -> list[Group]:
    """Split trials into what may be compared, the group with most trials first.

    Costs belong to every training budget that was tried on their group.
    """
    named = [
        axis.name
        for axis in AXES
        if axis.splits and not (axis.later and (trials[axis.name] == axis.default).all())
    ]
    named += [key for key in ORIGIN if trials[key].nunique(dropna=False) > 1]
    readings = Readings(measurements)
    several = trials.groupby(GROUP_BY, dropna=False)["training"].nunique().max() > 1
    found = []
    for _, part in trials.groupby(GROUP_BY, dropna=False, sort=True):
        place = {word(key): str(part[key].iloc[0])[:40] for key in named}
        budgets = sorted(part["training"].dropna().unique())
        for budget in budgets or [""]:
            mine = part[part["training"].isna() | (part["training"] == budget)]
            training = {"training": str(budget)} if several else {}
            found.append(Group(place | training, mine, readings))
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
        centres = centres_of(group, quantity)
        if centres or quantity.key in HEADLINE:
            cells = group.cells(quantity.probe)
            rows += [_row(group, quantity, key, cells[key], centres) for key in cells]
    columns = ["quantity", "method", "T", "value", "low", "high", "processes", "basis", "status"]
    columns += ["note", "trial", "ratio", "ratio_low", "ratio_high"]
    return pd.DataFrame(rows, columns=columns)


def common_steps(costs: pd.DataFrame) -> int | None:
    """The largest T at which all methods, or else most, have every quantity of the frame."""
    count = {int(T): 0 for T in costs["T"]}
    kinds = costs["quantity"].nunique()
    good = costs[costs["status"] == "ok"]
    for (_, T), found in Counter(zip(good["method"], good["T"], strict=True)).items():
        count[int(T)] += found == kinds
    return max(count, key=lambda T: (count[T], T)) if count else None


def outcomes(group: Group, costs: pd.DataFrame) -> pd.DataFrame:
    """Accuracy after training: one row per T and method, seeds and repeats pooled.

    Columns: training (the budget in words), T, method, accuracy, low, high (%; the range over
    runs), runs, seconds (training time of a run), memory (MiB, live peak of a step) and step (ms)
    in the same group at the same T (NaN where no trial has it), status, trial.
    """
    cost = {
        key: costs[costs["quantity"] == key].set_index(["method", "T"])["value"].to_dict()
        for key in HEADLINE
    }
    final, seconds = centres_of(group, ACCURACY), centres_of(group, TRAIN_TIME)
    budget = group.trials["training"].dropna()
    rows = []
    for key, part in group.cells("accuracy").items():
        row: dict[str, object] = {"training": budget.iloc[0], "method": key[0], "T": key[1]}
        runs = list(final.get(key, {}).values())
        row |= {"memory": cost["live_peak"].get(key, math.nan), "runs": len(runs)}
        row |= {"step": cost["step"].get(key, math.nan)}
        row |= {"status": failure(part), "trial": part[0]["trial"]}
        if runs:
            row |= {"accuracy": stats.median(runs), "low": min(runs), "high": max(runs)}
            row |= {"status": "ok"}
        if key in seconds:
            row["seconds"] = stats.median(list(seconds[key].values()))
        rows.append(row)
    columns = ["training", "T", "method", "accuracy", "low", "high", "runs", "seconds", "memory"]
    return pd.DataFrame(rows, columns=[*columns, "step", "status", "trial"])


def centres_of(group: Group, quantity: Quantity) -> dict[tuple[str, int], Centres]:
    """(method, T) -> what each process says of one quantity."""
    found = {
        key: estimates.centres(group.readings, quantity, trials)
        for key, trials in group.cells(quantity.probe).items()
    }
    return {key: centres for key, centres in found.items() if centres}


def failure(trials: Sequence[Mapping[str, Any]]) -> str:
    """Why trials have no value: their most frequent bad end, or that nothing was measured."""
    failed = sorted(str(row["status"]) for row in trials if row["status"] != "ok")
    return max(failed, key=failed.count) if failed else "missing"


def _row(
    group: Group,
    quantity: Quantity,
    key: tuple[str, int],
    trials: Sequence[Mapping[str, Any]],
    centres: Mapping[tuple[str, int], Centres],
) -> dict[str, object]:
    method, T = key
    row = {"quantity": quantity.key, "method": method, "T": T, "processes": 0, "basis": "none"}
    row["status"] = failure(trials)
    failed = sum(trial["status"] != "ok" for trial in trials)
    row["note"] = f"{failed} of {len(trials)} repeats failed" if failed else ""
    row["trial"] = trials[0]["trial"]
    found = estimates.estimate(group.readings, quantity, trials)
    if found is None:
        return row
    row |= {"value": found.value, "low": found.low, "high": found.high, "status": "ok"}
    row |= {"processes": found.processes, "basis": found.basis}
    ratio = _ratio(centres[key], centres.get((BASELINE, T), {}))
    if ratio is not None:
        row |= {"ratio": ratio.value, "ratio_low": ratio.low, "ratio_high": ratio.high}
    return row


def _ratio(
    centres: Mapping[tuple[int, int], float], baseline: Mapping[tuple[int, int], float]
) -> stats.Estimate | None:
    """Ratio over the pairs that both sides finished; None where there is no such ratio."""
    pairs = sorted(centres.keys() & baseline.keys())
    above, below = ([side[pair] for pair in pairs] for side in (centres, baseline))
    if not pairs or min(above + below) <= 0:
        return None
    return stats.paired_ratio(above, below)


def word(key: str) -> str:
    """A part of a group's key as readers know it."""
    return {"model": "network"}.get(key, key)
