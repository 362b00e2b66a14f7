"""Steps in series: those that were put in are found, and noise is none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.trend import steps


def noisy(seed: int, levels: list[float], each: int, noise: float) -> NDArray[np.float64]:
    """`each` points at every level, with normal noise of the logarithm."""
    logs = np.repeat(np.log(levels), each)
    return np.exp(logs + np.random.default_rng(seed).normal(0, noise, logs.size))


@pytest.mark.parametrize("ratio", [1.1, 0.9, 1.5])
def test_a_step_is_found_where_it_is(ratio: float) -> None:
    for seed in range(20):
        (step,) = steps.find(noisy(seed, [1.0, ratio], 12, 0.01))
        assert step.at == 12
        assert step.ratio == pytest.approx(ratio, rel=0.02)
        assert step.p < steps.LEVEL


def test_three_points_a_side_are_enough_and_two_are_not() -> None:
    quiet = [1.0, 1.001, 0.999, 1.2, 1.201, 1.199]
    (step,) = steps.find(quiet)
    assert step.at == 3
    assert steps.find(quiet[:-1]) == []
    assert steps.find(quiet[1:]) == []


def test_noise_alone_makes_no_steps() -> None:
    for noise in (0.02, 0.05, 0.1):
        alarms = sum(bool(steps.find(noisy(seed, [1.0], 30, noise))) for seed in range(300))
        assert alarms <= 3  # one in a hundred, the level of the test


def test_a_regression_that_was_repaired_is_two_steps() -> None:
    for seed in range(20):
        found = steps.find(noisy(seed, [1.0, 1.3, 1.0], 6, 0.02))
        assert [step.at for step in found] == [6, 12]
        assert found[0].ratio > 1 > found[1].ratio


def test_many_levels_of_an_exact_series_come_back_exactly() -> None:
    found = steps.find([1000] * 4 + [1100] * 3 + [1000] * 5 + [900] * 3)
    assert [step.at for step in found] == [4, 7, 12]
    assert [step.ratio for step in found] == pytest.approx([1.1, 1 / 1.1, 0.9])


def test_a_change_below_five_percent_is_none_however_sure() -> None:
    assert steps.find([1000] * 10 + [1040] * 10) == []
    assert len(steps.find([1000] * 10 + [1060] * 10)) == 1
    assert len(steps.find([1060] * 10 + [1000] * 10)) == 1


def test_one_outlier_is_no_step() -> None:
    values = noisy(3, [1.0], 20, 0.01)
    values[9] = 3.0
    assert steps.find(values) == []


def test_drift_in_small_doses_does_not_break_it() -> None:
    found = steps.find(np.exp(np.linspace(0, 0.03, 40)))
    assert found == []


@pytest.mark.parametrize("bad", [[1.0, 0.0, 1.0], [1.0, math.nan], [-1.0]])
def test_what_has_no_ratio_is_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="positive number"):
        steps.find(bad)


def test_students_distribution_by_its_table() -> None:
    # Two-sided 5 % points, as printed in every textbook.
    for freedom, t in ((1, 12.706), (2, 4.303), (4, 2.776), (5, 2.571), (10, 2.228), (30, 2.042)):
        assert steps.two_sided(t, freedom) == pytest.approx(0.05, abs=5e-5)
    assert steps.two_sided(0.0, 7) == 1.0
    assert steps.two_sided(-2.0, 7) == steps.two_sided(2.0, 7)


def test_students_distribution_against_scipy() -> None:
    reason = "scipy is not installed; it comes with the extra [test]"
    theirs = pytest.importorskip("scipy.stats", reason=reason).t
    for freedom in (1, 2, 3, 4, 7, 12, 25, 40):
        for t in (0.1, 0.7, 1.5, 3.0, 6.0):
            assert steps.two_sided(t, freedom) == pytest.approx(2 * theirs.sf(t, freedom), rel=1e-8)
