from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from report_sample import METHODS, QUANTITIES, STEPS, group, memory_mib

from harness.report import estimates, tables
from harness.report.estimates import Group
from harness.report.quantities import MEMORY, TIME, Quantity
from harness.report.tables import Interval

LIVE, TRACE = QUANTITIES["live_peak"], QUANTITIES["trace"]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Group:
    return group(tmp_path_factory.mktemp("sample"))


@pytest.fixture(scope="module")
def costs(sample: Group) -> pd.DataFrame:
    return pd.concat([estimates.estimate(sample, MEMORY), estimates.estimate(sample, TIME)])


@pytest.fixture(scope="module")
def verdict(sample: Group, costs: pd.DataFrame) -> pd.DataFrame:
    outcomes = estimates.outcomes(sample, costs)
    return tables.verdict(sample, costs, outcomes, 8).set_index("method")


def by_steps(sample: Group, costs: pd.DataFrame, quantity: Quantity, view: str) -> Any:
    return tables.by_steps(sample, costs, quantity, view).set_index("method")


def test_verdict_has_a_row_per_method_and_the_hand_computed_ratios(verdict: pd.DataFrame) -> None:
    assert list(verdict.index) == ["bptt_m", "bptt_s", "ottt_a", "sltt", "rate_m", "rate_s"]
    for method in METHODS:
        row: Any = verdict.loc[method]
        assert row["live peak (MiB)"].value == memory_mib(method, 8)
        assert row["stored for backward (MiB)"].value == memory_mib(method, 8) / 2
        assert row["memory × bptt_m"] == pytest.approx(memory_mib(method, 8) / 32)
    assert verdict.loc["sltt", "memory × bptt_m"] == pytest.approx(2 / 32)


def test_verdict_times_are_those_of_the_estimates(
    verdict: pd.DataFrame, costs: pd.DataFrame
) -> None:
    known = costs[costs["T"] == 8].set_index(["quantity", "method"])
    row: Any = verdict.loc["rate_s"]
    assert row["step (ms)"].value == known.loc[("step", "rate_s"), "value"]
    assert row["time × bptt_m"] == known.loc[("step", "rate_s"), "ratio"]
    for heading, key in (("forward", "forward"), ("of which trace", "trace")):
        assert row[f"{heading} (ms)"] == known.loc[(key, "rate_s"), "value"]


def test_verdict_gives_accuracy_or_why_there_is_none(verdict: pd.DataFrame) -> None:
    best: Any = verdict.loc["bptt_m", "accuracy (%) at T=4"]
    assert (best.value, best.low, best.high) == pytest.approx((84.0, 83.5, 84.5))
    assert verdict.loc["ottt_a", "accuracy (%) at T=4"] == "crash"


def test_by_steps_has_a_column_per_t_and_words_for_what_is_lost(
    sample: Group, costs: pd.DataFrame
) -> None:
    table = by_steps(sample, costs, LIVE, "absolute")
    assert list(table.columns) == [f"T={T}" for T in STEPS]
    assert table.loc["bptt_m", "T=16"] == Interval(64.0, 64.0, 64.0)
    assert table.loc["bptt_s", "T=16"] == "out of memory (GPU)"


def test_ratios_by_steps_are_hand_computed(sample: Group, costs: pd.DataFrame) -> None:
    table = by_steps(sample, costs, LIVE, "ratio")
    assert table.loc["rate_m", "T=16"].value == pytest.approx(4 / 64)
    assert table.loc["bptt_s", "T=2"].value == pytest.approx(10 / 8)


def test_a_missing_ratio_says_why(sample: Group, costs: pd.DataFrame) -> None:
    noisy = by_steps(sample, costs, TRACE, "ratio")
    assert noisy.loc["sltt", "T=8"] == "not positive"
    key = (costs["method"] == "bptt_m") & (costs["T"] == 16)
    failed = costs.mask(key, costs.assign(status="oom_host", ratio=float("nan")))
    failed.loc[failed["T"] == 16, "ratio"] = float("nan")
    table = by_steps(sample, failed, LIVE, "ratio")
    assert table.loc["rate_m", "T=16"] == "bptt_m: out of memory (host)"


def test_phases_add_up_and_name_what_failed(sample: Group, costs: pd.DataFrame) -> None:
    table = tables.phases(sample, estimates.phases(costs, 16)).set_index("method")
    row: Any = table.loc["rate_m"]
    parts = ["plain forward (ms)", "trace (ms)", "backward (ms)", "update (ms)"]
    assert row["sum (ms)"] == pytest.approx(sum(row[part] for part in parts))
    assert row["sum (ms)"] == pytest.approx(row["step (ms)"], rel=0.05)
    assert table.loc["bptt_s", "note"] == "time-out"
    assert "is noise" in str(table.loc["sltt", "note"])


def test_accuracy_table_holds_runs_memory_and_training_time(
    sample: Group, costs: pd.DataFrame
) -> None:
    outcomes = estimates.outcomes(sample, costs)
    row: Any = tables.accuracy(sample, outcomes).set_index("method").loc["sltt"]
    assert (row["T"], row["runs"]) == (4, 2)
    assert row["live peak of a step (MiB)"] == 2.0
    assert row["training time (s)"] == 20.0


def test_trials_table_lists_every_trial_in_order(sample: Group) -> None:
    table = tables.trials(sample)
    assert len(table) == len(sample.trials)
    assert table["order"].is_monotonic_increasing
    lost = table[table["status"] != "finished"]
    assert set(lost["status"]) == {"out of memory (GPU)", "time-out", "crash"}
    assert set(lost["error"]) == {"RuntimeError: <made up>"}
    assert set(table.loc[table["status"] == "finished", "error"]) == {""}
