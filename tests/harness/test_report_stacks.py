"""Stacked parts of a step, accuracy against cost, layers, firing, frontier and drift."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pandas as pd
import pytest
from report_rows import COSINE, PARTS, PERSISTENT_MIB, RATES, WEIGHTS
from report_sample import METHODS, STEPS, TRAIN_T, group, memory_mib

from harness.report import (
    drift,
    estimates,
    firing,
    layers,
    limits,
    runs,
    stacks,
    style,
    tradeoffs,
)
from harness.report.estimates import Group
from harness.results import store
from harness.results.estimates import Readings, records
from harness.results.quantities import MEMORY, QUANTITIES, TIME

TIMES, HELD, TRAFFIC = (next(s for s in stacks.STACKS if s.key == key)
                        for key in ("time", "memory", "traffic"))  # fmt: skip
PRICE = tradeoffs.PRICES[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sample")


@pytest.fixture(scope="module")
def sample(folder: Path) -> Group:
    return group(folder)


@pytest.fixture(scope="module")
def looks(sample: Group) -> dict[str, style.Look]:
    return style.looks_of(sample.trials)


def at(sample: Group, stack: stacks.Stack, T: int) -> pd.DataFrame:
    rows = stacks.frame(sample, stack)
    return rows[rows["T"] == T].set_index("method")


def test_the_parts_of_a_step_add_up_to_it(sample: Group) -> None:
    rows = at(sample, TIMES, 8)
    parts = rows[["plain_forward", "trace", "backward", "update"]].sum(axis="columns")
    assert parts.to_dict() == pytest.approx(rows["whole"].to_dict(), rel=0.05)


def test_a_trace_below_the_noise_is_not_stacked(sample: Group) -> None:
    sltt = at(sample, TIMES, 8).loc["sltt"]
    assert sltt["trace"] == 0
    assert "is noise: forward shown whole" in str(sltt["note"])


def test_an_unmeasured_trace_leaves_the_forward_whole(sample: Group, folder: Path) -> None:
    rows = store.load(folder).measurements
    bare = Readings(rows[rows["metric"] != "time.trace"])
    row = at(dataclasses.replace(sample, readings=bare), TIMES, 8).loc["rate_m"]
    assert row["note"] == "trace not measured: forward shown whole"
    assert row["trace"] == 0
    centres = bare.values(QUANTITIES["forward"])
    trials = sample.trials.query("method == 'rate_m' and T == 8 and probe == 'time'")["trial"]
    assert row["plain_forward"] == pytest.approx(sorted(centres[t] for t in trials)[1] * 1000)


def test_bars_stand_in_reading_order_and_phases_in_the_order_of_a_step(sample: Group) -> None:
    rows = at(sample, TIMES, 8).reset_index()
    figure = stacks.figure(rows, TIMES)
    assert [trace["name"] for trace in figure["data"]] == [
        "forward", "forward trace", "backward", "update",
    ]  # fmt: skip
    for trace in figure["data"]:  # Plotly stacks categories from the bottom
        assert trace["y"] == trace["customdata"] == sample.methods[::-1]
    assert list(stacks.table(rows, TIMES).columns[:5]) == [
        "method", "forward (ms)", "forward trace (ms)", "backward (ms)", "update (ms)",
    ]  # fmt: skip


def test_a_stack_is_offered_at_the_steps_that_it_was_measured_at(sample: Group) -> None:
    few = sample.trials[(sample.trials["probe"] != "time") | (sample.trials["T"] <= 4)]
    found = stacks.panel(dataclasses.replace(sample, trials=few)).variants
    assert {T for what, T in found if what == "time"} == {"1", "2", "4"}
    assert {T for what, T in found if what == "memory"} == {str(T) for T in STEPS}


def test_memory_is_cut_where_it_adds_up(sample: Group) -> None:
    row = at(sample, HELD, 4).loc["bptt_m"]
    assert row["persistent"] == PERSISTENT_MIB
    assert row["stored"] + row["peak"] == row["whole"] == memory_mib("bptt_m", 4)


def test_the_trace_of_traffic_is_what_the_method_adds(sample: Group) -> None:
    row = at(sample, TRAFFIC, 4).loc["rate_m"]
    assert row["trace"] == 4 * (PARTS["forward"] - PARTS["plain_forward"])
    assert row["whole"] == 4 * PARTS["step"]


def test_a_lost_step_is_written_where_its_bar_would_be(sample: Group) -> None:
    rows = at(sample, TIMES, 16).reset_index()
    (note,) = [t for t in stacks.figure(rows, TIMES)["data"] if t["type"] == "scatter"]
    assert (note["meta"], note["text"][0].strip()) == ("bptt_s", "no value: time-out")
    table = stacks.table(rows, TIMES).set_index("method")
    assert table.loc["bptt_s", "note"] == "time-out"


def test_the_front_holds_who_is_not_beaten_and_fades_the_others(
    sample: Group, looks: dict[str, style.Look]
) -> None:
    costs = estimates.estimate(sample, (*MEMORY, *TIME))
    rows = records(estimates.outcomes(sample, costs))
    best = tradeoffs.front(rows, PRICE)  # at T = 4: sltt 2, rate_s 3, rate_m 4, bptt_m 16 MiB
    assert best == ["sltt", "rate_s", "rate_m", "bptt_m"]
    figure = tradeoffs.figure(rows, PRICE, best, sample.methods, looks)
    drawn = {trace.get("meta"): trace for trace in figure["data"]}
    assert drawn["bptt_s"]["opacity"] < drawn["bptt_m"]["opacity"] == 1
    assert drawn["ottt_a"]["marker"]["symbol"] == "cross-open"
    assert "no value for ottt_a (crash)" in tradeoffs.sentence(rows, PRICE, best, TRAIN_T)


def test_equal_methods_stand_on_the_front_together() -> None:
    twin = {"method": "a", "status": "ok", "memory": 1.0, "accuracy": 50.0}
    assert tradeoffs.front([twin, twin | {"method": "b"}], PRICE) == ["a", "b"]
    worse = twin | {"method": "c", "memory": 2.0}
    assert tradeoffs.front([worse, twin], PRICE) == ["a"]


def test_fidelity_has_every_layer_in_order_and_the_whole_against_t(
    sample: Group, looks: dict[str, style.Look]
) -> None:
    panel = layers.panel(sample, layers.TOPICS[0], looks)
    metric = "fidelity.initial.bptt_m.cosine"
    by_layer = panel.variants[metric, "4"].figure["data"]
    sltt = next(trace for trace in by_layer if trace["meta"] == "sltt")
    assert sltt["x"] == list(WEIGHTS)
    assert sltt["y"] == pytest.approx([COSINE["sltt"] - 0.02 * k - 0.005 for k in (1, 2, 3)])
    whole = panel.variants[metric, layers.AGAINST_T].figure["data"]
    assert all(trace["x"] == [2, 4] for trace in whole)


def test_firing_rates_come_by_layer_by_step_and_both(
    sample: Group, looks: dict[str, style.Look]
) -> None:
    panel = firing.panel(sample, looks)
    metric = "activity.initial.rate"
    by_layer = panel.variants[metric, "4", "layer"].figure["data"][0]
    assert by_layer["y"] == pytest.approx(list(RATES.values()))
    by_step = panel.variants[metric, "4", "step"].figure["data"][0]
    assert by_step["x"] == [1, 2, 3, 4]
    grid = panel.variants[metric, "4", "sltt"].figure["data"][0]
    assert grid["z"] == [[rate] * 4 for rate in RATES.values()]
    assert (grid["zmin"], grid["zmax"]) == (0, max(RATES.values()))


LIMIT = {"method": "rate_m", "model": "tiny_resnet", "dtype": "float32", "axis": "T", "T": None,
         "batch": 128, "card": "8 GB", "status": "ok", "value": 40, "beyond": False}  # fmt: skip


@pytest.mark.parametrize("suffix", ["json", "csv"])
def test_a_frontier_file_becomes_a_panel(
    sample: Group, looks: dict[str, style.Look], tmp_path: Path, suffix: str
) -> None:
    rows = [LIMIT, LIMIT | {"card": "24 GB", "value": 1024, "beyond": True}]
    rows.append(LIMIT | {"model": "another", "value": 7})
    path = tmp_path / f"frontier.{suffix}"
    if suffix == "json":
        path.write_text(json.dumps({"limits": rows}), encoding="utf-8")
    else:
        pd.DataFrame(rows).to_csv(path, index=False)
    panel = limits.panel(sample, limits.read(tmp_path), looks)
    (variant,) = panel.variants.values()
    (trace,) = variant.figure["data"]
    assert (trace["x"], trace["y"]) == (["8 GB", "24 GB"], [40, 1024])
    assert trace["marker"]["symbol"] == ["diamond", "diamond-open"]
    assert "1024 with rate_m" in variant.sentence


def test_a_file_that_is_no_frontier_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "frontier.json").write_text('{"other": 1}', encoding="utf-8")
    (tmp_path / "frontier.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    assert limits.read(tmp_path) == []


def test_drift_shows_every_trial_in_running_order(
    sample: Group, looks: dict[str, style.Look], folder: Path
) -> None:
    facts = {trial: record["facts"] for trial, record in runs.read(folder).records.items()}
    panel = drift.panel(sample, facts, looks)
    assert [key for (key,) in panel.variants] == ["time.reference", "time.step", "cpu_clock"]
    reference = panel.variants[("time.reference",)]
    order = dict(zip(sample.trials["trial"], sample.trials["order"], strict=True))
    for trace in reference.figure["data"]:
        shown = [text.rpartition("trial ")[2] for text in trace["hovertext"]]
        assert trace["x"] == [order[trial] for trial in shown]
    values = [y for trace in reference.figure["data"] for y in trace["y"]]
    assert len(values) == len(METHODS) * len(STEPS) * 3 - 3
    assert sorted(values)[len(values) // 2] == pytest.approx(1, abs=0.02)
    clocks = panel.variants[("cpu_clock",)].figure["data"][0]["y"]
    assert set(clocks) == {2400.0}
