from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go
import pytest
from report_sample import METHODS, QUANTITIES, STEPS, group, memory_mib, step_ms

from harness.report import estimates, figures, style
from harness.report.estimates import Group
from harness.report.laws import laws
from harness.results.quantities import MEMORY, TIME, Quantity, number

NEW = "<b>my</b> method"
LIVE, STEP, TRACE = (QUANTITIES[key] for key in ("live_peak", "step", "trace"))
HERE = [
    quantity for quantity in MEMORY if not quantity.metric.startswith(("cuda", "nvml", "mem.work"))
]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Group:
    return group(tmp_path_factory.mktemp("sample"), extra=NEW)


@pytest.fixture(scope="module")
def costs(sample: Group) -> pd.DataFrame:
    return pd.concat([estimates.estimate(sample, MEMORY), estimates.estimate(sample, TIME)])


@pytest.fixture(scope="module")
def looks(sample: Group) -> dict[str, style.Look]:
    return style.looks((m, m, METHODS.get(m, ("novel",))[0]) for m in sample.methods)


def drawn(sample: Group, costs: Any, looks: Any, quantity: Quantity, view: str) -> go.Figure:
    return go.Figure(figures.by_steps(costs, quantity, view, sample.methods, looks))


def points(figure: go.Figure, axis: str | None = None) -> dict[str, dict[int, float]]:
    """Method -> {T: y} of the traces on the main axis (None) or in the strip ("y2")."""
    found: dict[str, dict[int, float]] = {}
    for trace in figure.data:
        if trace.yaxis == axis:
            found[trace.meta] = dict(zip(trace.x, trace.y, strict=True))
    return found


@pytest.mark.parametrize("quantity", [*HERE, *TIME], ids=lambda quantity: quantity.key)
@pytest.mark.parametrize("view", ["absolute", "ratio"])
def test_every_method_and_t_is_a_point_or_an_open_marker(
    sample: Group, costs: pd.DataFrame, looks: Any, quantity: Quantity, view: str
) -> None:
    figure = drawn(sample, costs, looks, quantity, view)
    plain, lost = points(figure), points(figure, "y2")
    assert lost == {"bptt_s": {16: 0}}
    for method in sample.methods:
        steps = set(plain.get(method, {})) | set(lost.get(method, {}))
        if view == "ratio" and quantity.key == "trace" and method == "sltt":
            assert not plain.get(method)  # a negative trace has no ratio; its table says so
        else:
            assert steps == set(STEPS)


def test_points_are_the_measured_figures(sample: Group, costs: pd.DataFrame, looks: Any) -> None:
    absolute = points(drawn(sample, costs, looks, LIVE, "absolute"))
    ratio = points(drawn(sample, costs, looks, LIVE, "ratio"))
    for method, values in absolute.items():
        for T, value in values.items():
            known = method if method in METHODS else "rate_m"
            assert value == memory_mib(known, int(T))
            expected = memory_mib(known, int(T)) / memory_mib("bptt_m", int(T))
            assert ratio[method][T] == pytest.approx(expected, rel=1e-6)


def test_a_lost_cell_is_an_open_marker_of_its_method(
    sample: Group, costs: pd.DataFrame, looks: Any
) -> None:
    figure = drawn(sample, costs, looks, STEP, "absolute")
    (trace,) = [trace for trace in figure.data if trace.yaxis == "y2"]
    assert trace.marker.symbol == "square-open"
    assert trace.marker.color == looks["bptt_s"].colour
    assert "time-out" in trace.hovertext[0]
    assert figure.layout.yaxis.domain[1] < figure.layout.yaxis2.domain[0]


def test_lost_cells_at_one_t_stand_in_lanes(sample: Group, costs: pd.DataFrame, looks: Any) -> None:
    failed = costs.assign(status=costs["status"].mask(costs["T"] == 16, "oom_host"))
    lost = points(drawn(sample, failed, looks, LIVE, "absolute"), "y2")
    assert sorted(lost[method][16] for method in sample.methods) == list(range(7))


def test_a_method_that_finished_nothing_is_still_in_the_legend(
    sample: Group, costs: pd.DataFrame, looks: Any
) -> None:
    status = costs["status"].mask(costs["method"] == "sltt", "crash")
    figure = drawn(sample, costs.assign(status=status), looks, LIVE, "absolute")
    named = [trace.meta for trace in figure.data if trace.showlegend is not False]
    assert sorted(named) == sorted(sample.methods)


def test_a_new_method_shows_with_its_own_signs_and_its_name_as_text(
    sample: Group, costs: pd.DataFrame, looks: Any
) -> None:
    figure = drawn(sample, costs, looks, LIVE, "absolute")
    (trace,) = [trace for trace in figure.data if trace.meta == NEW]
    assert trace.name == "&lt;b&gt;my&lt;/b&gt; method"
    assert "<b>my</b>" not in trace.hovertext[0]
    signs = [(t.marker.color, t.marker.symbol, t.line.dash) for t in figure.data]
    assert signs.count((trace.marker.color, trace.marker.symbol, trace.line.dash)) == 1


def test_bars_are_the_interval_over_processes(
    sample: Group, costs: pd.DataFrame, looks: Any
) -> None:
    figure = drawn(sample, costs, looks, STEP, "absolute")
    (trace,) = [trace for trace in figure.data if trace.meta == "sltt"]
    row: Any = costs.set_index(["quantity", "method", "T"]).loc[("step", "sltt", 1)]
    assert trace.y[0] + trace.error_y.array[0] == pytest.approx(row["high"], rel=1e-5)
    assert trace.y[0] - trace.error_y.arrayminus[0] == pytest.approx(row["low"], rel=1e-5)
    assert "range of 3 processes" in trace.hovertext[0]
    many = drawn(sample, costs.assign(processes=6), looks, STEP, "absolute")
    assert "95 % bootstrap over 6 processes" in many.data[0].hovertext[0]


def test_log_axes_have_powers_of_two_and_cover_the_data(costs: pd.DataFrame) -> None:
    scales = figures.scales(costs, LIVE, "absolute")
    log = scales["log"]
    assert log["xaxis"]["type"] == log["yaxis"]["type"] == "log"
    assert log["xaxis"]["tickvals"] == list(STEPS)
    assert log["yaxis"]["tickvals"] == [2, 4, 8, 16, 32, 64]
    low, high = (10**edge for edge in log["yaxis"]["range"])
    assert low < 2 < 64 < high
    assert scales["linear"]["xaxis"]["type"] == scales["linear"]["yaxis"]["type"] == "linear"


def test_a_log_axis_of_close_values_still_has_ticks(costs: pd.DataFrame) -> None:
    near = costs.assign(value=5.0, low=5.0, high=5.0)
    axis = figures.scales(near, LIVE, "absolute")["log"]["yaxis"]
    assert axis["tickvals"] == [2, 3, 4, 6, 8]
    assert axis["ticktext"] == ["2", "3", "4", "6", "8"]


def test_a_log_axis_covers_the_intervals(costs: pd.DataFrame) -> None:
    wide = costs.assign(low=costs["value"] / 3, high=costs["value"] * 3)
    low, high = (10**e for e in figures.scales(wide, STEP, "absolute")["log"]["yaxis"]["range"])
    times = costs.loc[costs["quantity"] == "step", "value"]
    assert low < times.min() / 3 < times.max() * 3 < high


def test_values_that_are_not_positive_keep_a_linear_axis(costs: pd.DataFrame) -> None:
    assert figures.scales(costs, TRACE, "absolute")["log"]["yaxis"]["type"] == "linear"


def test_a_fitted_law_runs_through_its_points_with_its_band(
    sample: Group, costs: pd.DataFrame, looks: Any
) -> None:
    fitted = laws(sample, STEP)
    figure = go.Figure(figures.by_steps(costs, STEP, "absolute", sample.methods, looks, fitted))
    curves = {t.meta: t for t in figure.data if t.uid == f"law:{t.meta}"}
    assert set(curves) == set(fitted) == set(sample.methods)
    curve = curves["sltt"]
    assert curve.y[-1] == pytest.approx(step_ms("sltt", 16), rel=0.1)
    assert "T^" in curve.hovertext
    assert "p in [" in curve.hovertext
    (band,) = [t for t in figure.data if t.uid == "law:band:sltt"]
    low, high = fitted["sltt"].band or (0, 0)
    assert low < fitted["sltt"].growth.p < high
    assert len(band.x) == 2 * len(curve.x)


def test_exact_points_have_a_law_without_a_band(sample: Group, costs: pd.DataFrame) -> None:
    fitted = laws(sample, LIVE)
    assert fitted["bptt_m"].band is None
    assert "it does not depend on T" in fitted["rate_m"].words("MiB")
    assert laws(sample, QUANTITIES["persistent"]) == {}


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.012345, "0.0123"), (4.567, "4.57"), (1234.5, "1234"), (0.0, "0"), (-0.169, "-0.169"),
     (99.96, "100"),
     (-0.0, "0"), (float("nan"), "–")],
)  # fmt: skip
def test_numbers_have_three_significant_digits(value: float, text: str) -> None:
    assert number(value) == text
