from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from report_sample import METHODS, STEPS, TRAIN_T, group, memory_mib, step_ms, write

from harness.report import estimates
from harness.report.estimates import Group
from harness.results import stats
from harness.results.estimates import Readings
from harness.results.quantities import MEMORY, MILLI, TIME
from harness.results.store import MEASUREMENT_COLUMNS, load


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Group:
    return group(tmp_path_factory.mktemp("sample"))


@pytest.fixture(scope="module")
def memory(sample: Group) -> pd.DataFrame:
    return estimates.estimate(sample, MEMORY)


@pytest.fixture(scope="module")
def time(sample: Group) -> pd.DataFrame:
    return estimates.estimate(sample, TIME)


def cell(costs: pd.DataFrame, quantity: str, method: str, T: int) -> Any:
    return costs.set_index(["quantity", "method", "T"]).loc[(quantity, method, T)]


def test_every_cell_that_was_asked_for_has_a_row(memory: pd.DataFrame) -> None:
    live = memory[memory["quantity"] == "live_peak"]
    asked = {(method, T) for method in METHODS for T in STEPS}
    assert set(zip(live["method"], live["T"], strict=True)) == asked


@pytest.mark.parametrize("T", STEPS)
@pytest.mark.parametrize("method", ["bptt_m", "rate_m", "sltt"])
def test_exact_figures_come_out_exactly(memory: pd.DataFrame, method: str, T: int) -> None:
    row = cell(memory, "live_peak", method, T)
    assert row["value"] == row["low"] == row["high"] == memory_mib(method, T)
    assert row["processes"] == 3
    assert row["ratio"] == pytest.approx(memory_mib(method, T) / memory_mib("bptt_m", T))


def test_times_are_medians_over_processes_of_medians_over_samples(
    sample: Group, time: pd.DataFrame
) -> None:
    trials = sample.trials.query("method == 'rate_m' and T == 8 and probe == 'time'")["trial"]
    samples = sample.readings.of("time.step")
    medians = [stats.median(samples[trial]) * MILLI for trial in trials]
    row = cell(time, "step", "rate_m", 8)
    assert row["value"] == pytest.approx(sorted(medians)[1])
    assert (row["low"], row["high"]) == pytest.approx(stats.bootstrap_interval(medians))
    assert row["value"] == pytest.approx(step_ms("rate_m", 8), rel=0.2)


def test_ratio_pairs_processes_of_one_repeat(sample: Group, time: pd.DataFrame) -> None:
    def medians(method: str) -> list[float]:
        wanted = sample.trials.query(f"method == '{method}' and T == 4 and probe == 'time'")
        samples = sample.readings.of("time.backward")
        return [stats.median(samples[trial]) for trial in wanted.sort_values("repeat")["trial"]]

    ratios = [a / b for a, b in zip(medians("sltt"), medians("bptt_m"), strict=True)]
    row = cell(time, "backward", "sltt", 4)
    assert row["ratio"] == pytest.approx(sorted(ratios)[1])
    assert row["ratio_low"] <= row["ratio"] <= row["ratio_high"]


def test_a_cell_without_a_value_keeps_its_reason(memory: pd.DataFrame, time: pd.DataFrame) -> None:
    lost = cell(memory, "live_peak", "bptt_s", 16)
    assert lost["status"] == "oom_cuda"
    assert math.isnan(lost["value"])
    assert cell(time, "step", "bptt_s", 16)["status"] == "timeout"


def test_the_headline_is_there_even_if_every_trial_failed(sample: Group) -> None:
    trials = sample.trials.assign(status="crash")
    nothing = pd.DataFrame(columns=MEASUREMENT_COLUMNS)
    dead = dataclasses.replace(sample, trials=trials, readings=Readings(nothing))
    costs = estimates.estimate(dead, MEMORY)
    assert set(costs["quantity"]) == {"live_peak"}
    assert set(costs["status"]) == {"crash"}


def test_a_lost_repeat_is_noted_and_the_others_count(tmp_path: Path) -> None:
    write(tmp_path)
    tables = load(tmp_path)
    wanted = "method == 'sltt' and T == 2 and probe == 'memory' and repeat == 1"
    gone = tables.trials.query(wanted)
    tables.trials.loc[gone.index, "status"] = "crash"
    rows = tables.measurements[~tables.measurements["trial"].isin(gone["trial"])]
    (found,) = estimates.groups(tables.trials, rows)
    row = cell(estimates.estimate(found, MEMORY), "live_peak", "sltt", 2)
    assert (row["status"], row["processes"], row["note"]) == ("ok", 2, "1 of 3 repeats failed")


def test_one_process_has_the_spread_of_its_samples(tmp_path: Path) -> None:
    row = cell(estimates.estimate(group(tmp_path, repeats=1), TIME), "step", "rate_m", 4)
    assert row["basis"] == "samples"
    assert row["low"] < row["value"] < row["high"]
    assert math.isnan(row["ratio_low"])


def test_common_steps_is_the_largest_that_all_methods_finished(memory: pd.DataFrame) -> None:
    head = memory[memory["quantity"] == "live_peak"]
    assert estimates.common_steps(head) == 8
    assert estimates.common_steps(head[head["method"] != "bptt_s"]) == 16
    assert estimates.common_steps(head.iloc[:0]) is None


def test_common_steps_have_every_quantity_that_the_frame_has(
    memory: pd.DataFrame, time: pd.DataFrame
) -> None:
    few = time[(time["quantity"] == "step") & (time["T"] <= 4)]
    assert estimates.common_steps(pd.concat([memory[memory["quantity"] == "live_peak"], few])) == 4


def test_outcomes_pool_seeds_and_keep_the_last_accuracy(
    sample: Group, memory: pd.DataFrame
) -> None:
    rows = estimates.outcomes(sample, memory).set_index("method")
    rate = rows.loc["rate_m"]
    assert (rate["accuracy"], rate["low"], rate["high"]) == pytest.approx((82.5, 82.0, 83.0))
    assert (rate["T"], rate["runs"], rate["seconds"]) == (TRAIN_T, 2, 20.0)
    assert rate["memory"] == memory_mib("rate_m", TRAIN_T)
    assert rows.loc["ottt_a", "status"] == "crash"


def test_groups_never_mix_batches(tmp_path: Path) -> None:
    write(tmp_path, repeats=1, batches=(32, 64))
    tables = load(tmp_path)
    found = estimates.groups(tables.trials, tables.measurements)
    assert [set(part.trials["batch"]) for part in found] == [{32}, {64}]
    assert found[1].label == "tiny_resnet · fashion-mini · batch 64 · float32 · cpu"


def test_a_group_holds_only_its_own_measurements(tmp_path: Path) -> None:
    write(tmp_path, repeats=1, batches=(32, 64))
    tables = load(tmp_path)
    larger = tables.trials.query("batch == 64 and probe == 'memory'")["trial"]
    mine = tables.measurements["trial"].isin(larger)
    tables.measurements.loc[mine, "value"] *= 2
    for part in estimates.groups(tables.trials, tables.measurements):
        factor = 2 if "batch 64" in part.label else 1
        row = cell(estimates.estimate(part, MEMORY), "live_peak", "rate_s", 4)
        assert row["value"] == factor * memory_mib("rate_s", 4)


@pytest.mark.parametrize(("axis", "value"), [("execution", "compile"),
                                             ("memory_format", "channels_last")])  # fmt: skip
def test_another_way_to_run_a_step_is_a_group_of_its_own(
    sample: Group, axis: str, value: str
) -> None:
    nothing = pd.DataFrame(columns=MEASUREMENT_COLUMNS)
    other = sample.trials.assign(**{axis: value})
    other["trial"] += "x"
    found = estimates.groups(pd.concat([sample.trials, other]), nothing)
    assert sum(value in group.label for group in found) == 1
    assert value not in sample.label
    assert sample.key in {group.key for group in found}


def test_groups_never_mix_training_budgets(tmp_path: Path) -> None:
    write(tmp_path, repeats=1)
    tables = load(tmp_path)
    trials, rows = tables.trials, tables.measurements
    first = trials["training"].dropna().iloc[0]
    trained = trials.index[trials["training"].notna() & (trials["method"] == "rate_m")]
    trials.loc[trained, "training"] = "another budget"
    found = estimates.groups(trials, rows)
    assert {part.label.rpartition(" · ")[2] for part in found} == {first, "another budget"}
    for part in found:
        assert part.trials["training"].nunique() == 1
        assert len(part.trials[part.trials["training"].isna()]) == trials["training"].isna().sum()


@pytest.mark.parametrize("column", ["environment", "measurement", "shared_code"])
def test_trials_of_another_origin_are_a_group_of_their_own(sample: Group, column: str) -> None:
    nothing = pd.DataFrame(columns=MEASUREMENT_COLUMNS)
    other = sample.trials.assign(**{column: "other"})
    other["trial"] += "x"
    found = estimates.groups(pd.concat([sample.trials, other]), nothing)
    assert [len(group.trials) for group in found] == [len(other)] * 2
    assert sum(f"{column.replace('_', ' ')} other" in group.label for group in found) == 1


def test_methods_start_with_the_baseline_and_keep_families_together(sample: Group) -> None:
    assert sample.methods == ["bptt_m", "bptt_s", "ottt_a", "sltt", "rate_m", "rate_s"]
    assert sample.steps == list(STEPS)
