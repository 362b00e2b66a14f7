"""The panels of growth and of predicted memory, on a sweep whose figures are known."""

from __future__ import annotations

import dataclasses

import pandas as pd
import plotly.graph_objects as go
import pytest
from report_sample import (
    METHODS,
    PERSISTENT_MIB,
    QUANTITIES,
    STEPS,
    WORKSPACE_MIB,
    group,
    memory_mib,
)

from harness.report import estimates, exponents, predictions, style
from harness.report.estimates import Group
from harness.report.laws import laws
from harness.results import growth
from harness.results.quantities import MEMORY

LIVE, REQUESTED = QUANTITIES["live_peak"], QUANTITIES["cpu_requested"]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Group:
    return group(tmp_path_factory.mktemp("sample"))


@pytest.fixture(scope="module")
def memory(sample: Group) -> pd.DataFrame:
    return estimates.estimate(sample, MEMORY)


@pytest.fixture(scope="module")
def looks(sample: Group) -> dict[str, style.Look]:
    return style.looks((m, m, METHODS[m][0]) for m in sample.methods)


def test_laws_are_those_of_the_sample(sample: Group) -> None:
    found = exponents.frame(sample, LIVE, laws(sample, LIVE)).set_index("method")
    assert set(found.index) == {"bptt_m", "rate_m", "rate_s", "sltt", "ottt_a", "bptt_s"}
    law = found.loc["bptt_m"]  # 4 T
    assert (law["p"], law["b"]) == (pytest.approx(1, abs=1e-3), pytest.approx(4, rel=1e-2))
    assert (law["low"], law["high"]) == (pytest.approx(1), pytest.approx(1))
    assert found.loc["rate_m", "reason"] == "it does not depend on T"


def test_stored_bytes_have_a_class_and_it_is_compared(sample: Group) -> None:
    stored = QUANTITIES["stored"]
    rows = exponents.frame(sample, stored, laws(sample, stored))
    classes = dict(zip(rows["method"], rows["derived"], strict=True))
    assert classes["bptt_m"] == "linear"
    assert classes["rate_m"] == "constant"
    # The sample declares every method constant.
    assert "otherwise than declared: bptt_m (linear)" in exponents.sentence(rows, stored)
    assert list(exponents.table(rows, stored)["declared"].unique()) == ["constant"]


def test_an_exponent_that_the_points_leave_open_is_not_told_as_growth(sample: Group) -> None:
    rows = exponents.frame(sample, LIVE, laws(sample, LIVE))
    rows.loc[rows["method"] == "bptt_s", ["p", "low", "high"]] = (0.05, *growth.LIMITS)
    text = exponents.sentence(rows, LIVE)
    assert "leave the exponent open for bptt_s" in text
    assert "grow like T^1.00 (bptt_m)" in text


def test_too_few_steps_give_no_panel(sample: Group) -> None:
    few = sample.trials[sample.trials["T"].isin([1, 4])]
    small = dataclasses.replace(sample, trials=few)
    assert laws(small, LIVE) == {}
    assert exponents.panel(small, {LIVE.key: {}}, {}).variants == {}


def test_an_exponent_without_growth_is_an_open_marker(
    sample: Group, looks: dict[str, style.Look]
) -> None:
    fitted = laws(sample, LIVE)
    rows = exponents.frame(sample, LIVE, fitted)
    figure = go.Figure(exponents.figure(rows, fitted, LIVE, sample.methods, looks))
    drawn = {t.name: t for t in figure.data}
    assert set(drawn) == set(rows["method"])
    assert drawn["rate_m"].marker.symbol.endswith("-open")
    assert drawn["rate_m"].x == (0,)
    assert drawn["bptt_m"].x[0] == pytest.approx(1, abs=1e-3)
    assert not drawn["bptt_m"].marker.symbol.endswith("-open")


def test_predictions_stand_beside_what_was_measured(memory: pd.DataFrame) -> None:
    points = predictions.frame(memory, REQUESTED).set_index(["method", "T"])
    assert len(points) == len(METHODS) * len(STEPS) - 1  # one memory trial is lost
    cell = points.loc[("bptt_m", 8)]
    assert cell["predicted"] == memory_mib("bptt_m", 8)
    assert cell["measured"] == memory_mib("bptt_m", 8) + WORKSPACE_MIB
    assert cell["ratio"] == cell["measured"] / cell["predicted"]


def test_a_whole_process_is_predicted_with_what_persists(memory: pd.DataFrame) -> None:
    whole = memory.assign(quantity=memory["quantity"].replace("cpu_requested", "cuda_requested"))
    points = predictions.frame(whole, QUANTITIES["cuda_requested"]).set_index(["method", "T"])
    assert points.loc[("sltt", 2), "predicted"] == memory_mib("sltt", 2) + PERSISTENT_MIB


def test_the_panel_has_every_cell_in_figure_table_and_sentence(
    sample: Group, memory: pd.DataFrame, looks: dict[str, style.Look]
) -> None:
    panel = predictions.panel(sample, memory, looks)
    assert set(panel.variants) == {("cpu_requested",), ("rss_peak",)}
    variant = panel.variants[("cpu_requested",)]
    cells = sum(len(t.x) for t in go.Figure(variant.figure).data if t.meta)
    assert cells == len(panel.tables["cpu_requested"]) == len(METHODS) * len(STEPS) - 1
    worst = 1 + WORKSPACE_MIB / memory_mib("sltt", 1)
    assert f"{worst:.2f} times (sltt, T = " in variant.sentence


def test_nothing_measured_gives_no_panel(sample: Group, memory: pd.DataFrame) -> None:
    bare = memory[memory["quantity"] == "live_peak"]
    assert predictions.panel(sample, bare, {}).variants == {}
