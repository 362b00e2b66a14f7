from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from harness.results import stats


def test_median_and_quartiles_of_known_numbers() -> None:
    assert stats.median([5, 1, 3]) == 3
    assert stats.median([4, 1, 3, 2]) == 2.5
    assert stats.interquartile([0, 1, 2, 3, 4]) == (1, 3)


def test_bootstrap_matches_the_enumeration_of_every_resample() -> None:
    values = [1.0, 2.0, 4.0, 8.0]
    every = [np.median(pick) for pick in itertools.product(values, repeat=len(values))]
    low, high = stats.bootstrap_interval(values, level=0.8, resamples=40_000)
    assert low == np.quantile(every, 0.1)
    assert high == np.quantile(every, 0.9)


def test_bootstrap_covers_the_true_median_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(7)
    hits = 0
    for trial in range(300):
        low, high = stats.bootstrap_interval(rng.lognormal(size=25), resamples=400, seed=trial)
        hits += low <= 1.0 <= high
    assert 0.90 <= hits / 300 <= 0.99


def test_bootstrap_is_repeatable_and_brackets_the_median() -> None:
    values = np.random.default_rng(0).normal(size=9)
    first, second = stats.bootstrap_interval(values), stats.bootstrap_interval(values)
    assert first == second
    assert values.min() <= first[0] <= stats.median(values) <= first[1] <= values.max()


def test_bootstrap_of_equal_numbers_is_a_point() -> None:
    assert stats.bootstrap_interval([3.0, 3.0, 3.0]) == (3.0, 3.0)


@pytest.mark.parametrize("processes", [2, 3, 4, 5, 6])
def test_only_with_enough_processes_is_the_bootstrap_more_than_their_range(processes: int) -> None:
    values = np.geomspace(1.0, 2.0, processes)
    is_range = stats.bootstrap_interval(values) == (values.min(), values.max())
    assert is_range == (processes < stats.ENOUGH)


def test_bootstrap_refuses_a_single_process() -> None:
    with pytest.raises(ValueError, match="at least two processes"):
        stats.bootstrap_interval([1.0])


def test_summary_weighs_processes_and_not_samples() -> None:
    estimate = stats.summarise([[1.0] * 100, [5.0], [6.0]])
    assert estimate.value == 5.0
    assert estimate.processes == 3
    assert estimate.basis == "processes"
    assert 1.0 <= estimate.low <= 5.0 <= estimate.high <= 6.0


def test_summary_of_one_process_says_that_its_spread_is_of_samples() -> None:
    estimate = stats.summarise([[0.0, 1.0, 2.0, 3.0, 4.0]])
    assert (estimate.value, estimate.low, estimate.high) == (2, 1, 3)
    assert estimate.basis == "samples"


def test_summary_of_one_sample_has_no_interval() -> None:
    estimate = stats.summarise([[7.0]])
    assert estimate.value == 7.0
    assert math.isnan(estimate.low)
    assert math.isnan(estimate.high)
    assert estimate.basis == "none"


@pytest.mark.parametrize("bad", [[], [math.nan], [math.inf, 1.0], [[1.0], [2.0]]])
def test_numbers_that_are_none_are_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        stats.median(bad)


def test_nothing_to_summarise_is_an_error() -> None:
    with pytest.raises(ValueError, match="no process"):
        stats.summarise([])


def test_paired_ratio_cancels_what_both_members_of_a_pair_share() -> None:
    luck = np.array([1.0, 3.0, 0.5, 2.0, 8.0])
    estimate = stats.paired_ratio(0.25 * luck, luck)
    assert estimate.value == pytest.approx(0.25, rel=1e-12)
    assert (estimate.low, estimate.high) == pytest.approx((0.25, 0.25), rel=1e-12)
    assert estimate.processes == 5


def test_paired_ratio_by_hand_and_its_inverse() -> None:
    above, below = [2.0, 9.0, 8.0, 3.0], [1.0, 3.0, 1.0, 3.0]  # ratios 2, 3, 8, 1
    forth, back = stats.paired_ratio(above, below), stats.paired_ratio(below, above)
    assert forth.value == pytest.approx(math.sqrt(2 * 3))
    assert back.value == pytest.approx(1 / forth.value)
    assert back.low == pytest.approx(1 / forth.high)


def test_paired_ratio_of_one_pair_has_no_interval() -> None:
    estimate = stats.paired_ratio([3.0], [4.0])
    assert estimate.value == pytest.approx(0.75)
    assert math.isnan(estimate.low)
    assert estimate.basis == "none"


@pytest.mark.parametrize(
    ("above", "below", "message"),
    [([1.0, 2.0], [1.0], "equal lengths"), ([1.0], [0.0], "positive"), ([-1.0], [1.0], "positive")],
)
def test_paired_ratio_refuses_what_has_no_ratio(
    above: list[float], below: list[float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        stats.paired_ratio(above, below)
