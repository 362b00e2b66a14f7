"""One estimate of one cell: what a process says, and what several say together."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from harness.results import estimates, stats
from harness.results.estimates import Readings
from harness.results.quantities import ACCURACY, QUANTITIES, TRAIN_TIME, Quantity
from harness.results.store import MEASUREMENT_COLUMNS

STEP = QUANTITIES["step"]


def readings(metric: str, **trials: list[float]) -> Readings:
    lines = [
        (trial, metric, "step", sample, value, "1", "noisy")
        for trial, values in trials.items()
        for sample, value in enumerate(values)
    ]
    return Readings(pd.DataFrame(lines, columns=MEASUREMENT_COLUMNS))


def cell(*trials: str) -> list[dict[str, object]]:
    return [
        {"trial": trial, "seed": 0, "repeat": repeat, "status": "ok"}
        for repeat, trial in enumerate(trials)
    ]


def test_several_processes_bound_their_median_whatever_their_samples() -> None:
    found = readings("time.step", a=[0.001, 0.003, 0.9], b=[0.005], c=[0.004, 0.006])
    assert estimates.centres(found, STEP, cell("a", "b", "c")) == {(0, 0): 3, (0, 1): 5, (0, 2): 5}
    expected = stats.over_processes([3.0, 5.0, 5.0])
    assert estimates.estimate(found, STEP, cell("a", "b", "c", "absent")) == expected


def test_one_process_is_bounded_by_its_samples() -> None:
    found = readings("time.step", a=[0.001, 0.002, 0.004, 0.008])
    expected = stats.summarise([[1.0, 2.0, 4.0, 8.0]])
    assert estimates.estimate(found, STEP, cell("a")) == expected
    assert expected.basis == "samples"


@pytest.mark.parametrize(("quantity", "value"), [(ACCURACY, 75.0), (TRAIN_TIME, 1.25)])
def test_one_process_whose_number_is_no_median_is_bounded_by_nothing(
    quantity: Quantity, value: float
) -> None:
    told = estimates.estimate(readings(quantity.metric, a=[0.5, 0.75]), quantity, cell("a"))
    assert told is not None
    assert (told.value, told.basis, math.isnan(told.low)) == (value, "none", True)


def test_a_cell_without_a_reading_has_no_estimate() -> None:
    found = readings("time.step", a=[0.001])
    assert estimates.estimate(found, STEP, cell("b")) is None
    assert estimates.estimate(found, ACCURACY, cell("a")) is None


def test_trials_without_a_commit_are_one_cell() -> None:
    trials = pd.DataFrame({"trial": ["a", "b", "c"], "commit": [None, math.nan, "f"]})
    found = estimates.cells(trials, ["commit"])
    assert {key: [each["trial"] for each in mine] for key, mine in found.items()} == {
        (None,): ["a", "b"],
        ("f",): ["c"],
    }
