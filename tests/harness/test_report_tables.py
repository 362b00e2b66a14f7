from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from report_rows import JOULES
from report_sample import METHODS, QUANTITIES, STEPS, group, memory_mib

from harness.report import estimates, runs, tables, tradeoffs
from harness.report.estimates import Group
from harness.report.tables import Interval
from harness.results.estimates import records
from harness.results.quantities import ENERGY, MEMORY, TIME, Quantity
from harness.spec import TrialSpec

LIVE, TRACE = QUANTITIES["live_peak"], QUANTITIES["trace"]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Group:
    return group(tmp_path_factory.mktemp("sample"))


@pytest.fixture(scope="module")
def costs(sample: Group) -> pd.DataFrame:
    return estimates.estimate(sample, (*MEMORY, *TIME, *ENERGY))


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
        assert row["memory (MiB)"].value == memory_mib(method, 8)
        assert row["stored (MiB)"].value == memory_mib(method, 8) / 2
        assert row["memory × bptt_m"] == pytest.approx(memory_mib(method, 8) / 32)
    assert verdict.loc["sltt", "memory × bptt_m"] == pytest.approx(2 / 32)


def test_verdict_times_are_those_of_the_estimates(
    verdict: pd.DataFrame, costs: pd.DataFrame
) -> None:
    known = costs[costs["T"] == 8].set_index(["quantity", "method"])
    row: Any = verdict.loc["rate_s"]
    assert row["step (ms)"].value == known.loc[("step", "rate_s"), "value"]
    assert row["time × reference"].value == known.loc[("ratio_step", "rate_s"), "value"]
    assert row["trace (ms)"] == known.loc[("trace", "rate_s"), "value"]
    assert row["trace (MiB)"] == known.loc[("trace_bytes", "rate_s"), "value"]
    assert row["energy (mJ/sample)"].value == pytest.approx(1000 * JOULES["rate_s"] * 8 / 32)
    assert "time × bptt_m" not in verdict.columns


def test_without_a_reference_time_is_told_against_the_baseline(
    sample: Group, costs: pd.DataFrame
) -> None:
    bare = costs[costs["quantity"] != "ratio_step"]
    outcomes = estimates.outcomes(sample, bare)
    table = tables.verdict(sample, bare, outcomes, 8).set_index("method")
    known = bare[bare["T"] == 8].set_index(["quantity", "method"])
    assert table.loc["sltt", "time × bptt_m"] == known.loc[("step", "sltt"), "ratio"]


def test_verdict_gives_accuracy_or_why_there_is_none(verdict: pd.DataFrame) -> None:
    best: Any = verdict.loc["bptt_m", "accuracy (%) at T=4"]
    assert (best.value, best.low, best.high) == pytest.approx((84.0, 83.5, 84.5))
    assert verdict.loc["ottt_a", "accuracy (%) at T=4"] == "crash"
    assert verdict.loc["rate_m", "accuracy − bptt_m"] == pytest.approx(-1.5)


def test_accuracy_stands_beside_everything_that_it_cost(sample: Group, costs: pd.DataFrame) -> None:
    rows = records(estimates.outcomes(sample, costs))
    table = tradeoffs.table(sample.methods, rows, ["sltt"])
    assert list(table.columns) == [
        "method", "accuracy (%)", "runs", "live peak (MiB)", "step (ms)", "training time (s)",
        "on the front",
    ]  # fmt: skip
    assert list(table["method"]) == sample.methods
    row: Any = table.set_index("method").loc["sltt"]
    assert (row["accuracy (%)"].value, row["runs"], row["on the front"]) == (80.0, 2, "yes")
    assert (row["live peak (MiB)"], row["training time (s)"]) == (memory_mib("sltt", 4), 20.0)
    known = costs.set_index(["quantity", "method", "T"])
    assert row["step (ms)"] == known.loc[("step", "sltt", 4), "value"]
    assert table.set_index("method").loc["ottt_a", "accuracy (%)"] == "crash"


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


def test_trials_table_lists_every_trial_in_order(sample: Group) -> None:
    table = tables.trials(sample, {})
    assert len(table) == len(sample.trials)
    assert table["order"].is_monotonic_increasing
    lost = table[table["status"] != "finished"]
    assert set(lost["status"]) == {"out of memory (GPU)", "time-out", "crash"}
    assert set(lost["error"]) == {"RuntimeError: <made up>"}
    assert set(table.loc[table["status"] == "finished", "error"]) == {""}


def test_a_trial_says_how_to_run_it_again(tmp_path: Path) -> None:
    found = group(tmp_path, repeats=1)
    table = tables.trials(found, runs.read(tmp_path).records)
    row = table.iloc[0]
    head, _, text = row["command"].text.partition(" && echo ")
    assert head == f"git checkout {'f' * 40}"
    spec = TrialSpec.from_json(json.loads(text.partition("'")[2].rpartition("'")[0]))
    assert (spec.trial, spec.probe, spec.cell.T) == (row["trial"], row["probe"], row["T"])
    assert spec.cell.method.label == row["method"]
