"""The time tier's statistics: against brute force over all sign flips, and against scipy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.gate import statistics
from harness.gate.verdict import Verdict

Differences = NDArray[np.float64]


def draw(seed: int, size: int, centre: float = 0.3) -> Differences:
    return np.random.default_rng(seed).standard_t(3, size) + centre


def rank_sum(differences: Differences) -> float:
    """Wilcoxon's W+ by its definition: the ranks of |d| where d is positive."""
    ranks = np.argsort(np.argsort(np.abs(differences))) + 1
    return float(ranks[differences > 0].sum())


def flips(differences: Differences) -> list[float]:
    """W+ of every pattern of signs."""
    signs = itertools.product((-1.0, 1.0), repeat=differences.size)
    return [rank_sum(np.abs(differences) * np.array(pattern)) for pattern in signs]


@pytest.mark.parametrize("n", [1, 2, 5, 8, 10])
def test_counts_are_those_of_all_sign_patterns(n: int) -> None:
    sums = [sum(subset) for size in range(n + 1) for subset in
            itertools.combinations(range(1, n + 1), size)]  # fmt: skip
    assert statistics.counts(n) == tuple(sums.count(w) for w in range(n * (n + 1) // 2 + 1))


@pytest.mark.parametrize("n", [4, 6, 8, 11])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("bound", [0.0, 0.4, -0.7])
def test_p_is_the_share_of_sign_flips_at_least_as_extreme(n: int, seed: int, bound: float) -> None:
    centred = draw(seed, n) - bound
    everything = flips(centred)
    brute = sum(w >= rank_sum(centred) for w in everything) / len(everything)
    assert statistics.p_above(centred + bound, bound) == pytest.approx(brute, abs=1e-15)


@pytest.mark.parametrize("n", [6, 7, 8, 10])
@pytest.mark.parametrize("seed", range(4))
def test_the_interval_holds_exactly_the_shifts_that_brute_force_does_not_reject(
    n: int, seed: int
) -> None:
    d = draw(seed, n)
    low, high = statistics.interval(d)
    found = statistics.averages(d)
    between = (found[:-1] + found[1:]) / 2  # the test's answer changes at the averages alone
    for candidate in (found[0] - 1, *between, found[-1] + 1):
        null = flips(d - candidate)
        w = rank_sum(d - candidate)
        above = sum(value >= w for value in null) / len(null)
        below = sum(value <= w for value in null) / len(null)
        kept = min(above, below) > statistics.ALPHA
        assert kept == (low < candidate < high)


@pytest.mark.parametrize(("alpha", "least"), [(0.025, 6), (0.05, 5), (0.025 / 6, 8)])
def test_a_bound_exists_from_the_fewest_pairs_on_that_allow_one(alpha: float, least: int) -> None:
    assert statistics.interval(draw(0, least - 1), alpha) == (-math.inf, math.inf)
    low, high = statistics.interval(draw(0, least), alpha)
    assert math.isfinite(low)
    assert math.isfinite(high)


@pytest.mark.parametrize("alpha", [0.025, 0.0042])
@pytest.mark.parametrize("n", [8, 16])
def test_bound_and_p_never_disagree(n: int, alpha: float) -> None:
    for seed in range(50):
        d = draw(seed, n)
        for bound in (0.0, 0.1, 0.5):
            clears = statistics.interval(d, alpha)[0] > bound
            assert clears == (statistics.p_above(d, bound) <= alpha)


def test_the_shift_is_the_median_of_all_averages_of_two() -> None:
    assert statistics.shift([1.0, 2.0, 6.0]) == 2.75  # of 1, 1.5, 2, 3.5, 4, 6
    assert statistics.shift([3.0]) == 3.0
    d = draw(1, 9)
    assert statistics.shift(d + 5) == pytest.approx(statistics.shift(d) + 5)
    assert statistics.shift(-d) == pytest.approx(-statistics.shift(d))


def test_ties_and_zeros_make_the_test_err_on_the_safe_side() -> None:
    assert statistics.p_above(np.zeros(8), 0.0) == 1.0
    ties = np.array([0.1, 0.1, 0.1, -0.1, 0.2, 0.2, 0.0, 0.3])
    noise = np.random.default_rng(0).normal(0, 1e-9, (200, 8))
    perturbed = [statistics.p_above(ties + row, 0.0) for row in noise]
    assert statistics.p_above(ties, 0.0) >= max(perturbed)


@pytest.mark.parametrize("bad", [[], [1.0, math.nan], [[1.0]]])
def test_what_is_no_list_of_differences_is_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="finite difference"):
        statistics.averages(bad)


def test_holm_by_hand() -> None:
    # Against 0.05/4, 0.05/3, 0.05/2, 0.05.
    assert statistics.holm({"a": 0.001, "b": 0.01, "c": 0.02, "d": 0.5}, 0.05) == {"a", "b", "c"}
    assert statistics.holm({"a": 0.001, "b": 0.02, "c": 0.021, "d": 0.04}, 0.05) == {"a"}
    assert statistics.holm({"a": 0.02, "b": 0.02}, 0.025) == frozenset()
    assert statistics.holm({"a": 0.012, "b": 0.02}, 0.025) == {"a", "b"}
    assert statistics.holm({}, 0.05) == frozenset()


def test_the_smallest_p_of_eight_pairs_passes_for_six_families() -> None:
    surely = np.full(8, 1.0) + np.arange(8) / 100
    unclear = np.array([1.0, -1.1, 1.2, -1.3, 1.4, -1.5, 1.6, -1.7])
    families = {"slow": surely} | {f"other {k}": unclear for k in range(5)}
    assert statistics.judge(families, 0.05)["slow"].verdict is Verdict.SLOWER
    families["one too many"] = unclear
    assert statistics.judge(families, 0.05)["slow"].verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("centre", "spread", "verdict"),
    [
        (0.2, 0.01, Verdict.SLOWER),
        (-0.2, 0.01, Verdict.FASTER),
        (0.0, 0.01, Verdict.EQUAL),
        (0.04, 0.001, Verdict.EQUAL),
        (0.0, 0.5, Verdict.INCONCLUSIVE),
        (0.06, 0.05, Verdict.INCONCLUSIVE),
    ],
)
def test_verdicts(centre: float, spread: float, verdict: Verdict) -> None:
    d = centre + spread * np.array([-1.0, 0.8, -0.6, 0.4, -0.2, 0.1, 1.1, -0.7])
    finding = statistics.judge({"f": d}, statistics.LEAST_MARGIN)["f"]
    assert finding.verdict is verdict
    assert finding.low <= finding.shift <= finding.high
    assert finding.pairs == 8


def test_too_few_pairs_are_never_a_verdict() -> None:
    finding = statistics.judge({"f": np.full(5, 1.0)}, 0.05)["f"]
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert finding.high == math.inf


def test_the_margin_is_five_percent_or_twice_the_floor() -> None:
    assert statistics.margin(np.full(8, 0.02)) == pytest.approx(math.log(1.05))
    assert statistics.margin(np.full(8, -0.04)) == pytest.approx(0.08)


def test_a_placebo_alarms_in_either_direction_and_by_its_interval_alone() -> None:
    wobble = np.array([0.01, -0.01, 0.02, -0.02, 0.0, 0.01, -0.01, 0.0])
    assert statistics.alarms(wobble + 0.1)
    assert statistics.alarms(wobble - 0.1)
    assert not statistics.alarms(wobble + 0.04)
    assert not statistics.alarms(wobble * 20 + 0.1)


def test_a_family_is_the_mean_over_its_cells_pair_by_pair() -> None:
    combined = statistics.combine([[1.0, 2.0], [3.0, 6.0]])
    assert combined.tolist() == [2.0, 4.0]
    with pytest.raises(ValueError, match="same number of pairs"):
        statistics.combine([[1.0], [1.0, 2.0]])


class TestAgainstScipy:
    """scipy's exact distribution, from another implementation."""

    @pytest.fixture
    def wilcoxon(self):  # type: ignore[no-untyped-def]
        reason = "scipy is not installed; it comes with the extra [test]"
        return pytest.importorskip("scipy.stats", reason=reason).wilcoxon

    @pytest.mark.parametrize("n", [6, 8, 12, 16, 24])
    def test_p(self, wilcoxon, n: int) -> None:  # type: ignore[no-untyped-def]
        for seed in range(20):
            d = draw(seed, n)
            for bound in (0.0, 0.25):
                theirs = wilcoxon(d - bound, alternative="greater", method="exact").pvalue
                assert statistics.p_above(d, bound) == pytest.approx(theirs, rel=1e-12)

    @pytest.mark.parametrize("n", [6, 9, 16])
    def test_bounds(self, wilcoxon, n: int) -> None:  # type: ignore[no-untyped-def]
        for seed in range(10):
            d = draw(seed, n)
            low, high = statistics.interval(d)
            for bound, inside in ((low, 1e-9), (high, -1e-9)):
                side = "greater" if inside > 0 else "less"
                just_in = wilcoxon(d - bound - inside, alternative=side, method="exact").pvalue
                just_out = wilcoxon(d - bound + inside, alternative=side, method="exact").pvalue
                assert just_out <= statistics.ALPHA < just_in
