"""Laws recovered from points that follow them, with noise, and where there is nothing to find."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from harness.results.growth import LIMITS, fit, fit_noisy
from harness.results.memory_class import disagreements, memory_class
from harness.spec import LATER

GRID = (1, 2, 4, 8, 16)


@pytest.mark.parametrize("p", [0.2, 0.5, 1.0, 1.37, 2.0, 3.0])
@pytest.mark.parametrize(("a", "b"), [(0.0, 50.0), (1000.0, 50.0), (7.0, 3e6), (-10.0, 100.0)])
def test_exact_points_give_back_their_law(a: float, b: float, p: float) -> None:
    found = fit((T, a + b * T**p) for T in GRID)
    assert found.p == pytest.approx(p, abs=1e-5)
    assert found.at(64) == pytest.approx(a + b * 64**p, rel=1e-4)
    assert found.low <= found.p <= found.high
    assert found.high - found.low < 1e-2
    assert found.misfit < 1e-8
    assert (found.basis, found.reason) == ("residuals", None)


def test_an_intercept_is_not_mistaken_for_slow_growth() -> None:
    """A log-log slope over these points would be 0.31."""
    found = fit((T, 1e6 + 1e5 * T) for T in GRID)
    assert found.low < 1 < found.high
    assert found.p == pytest.approx(1)


def test_whole_bytes_widen_the_interval_a_little() -> None:
    found = fit((T, int(1e5 + 777 * math.sqrt(T))) for T in (*GRID, 32))
    assert found.low < 0.5 < found.high
    assert 1e-4 < found.high - found.low < 0.02


@pytest.mark.parametrize(
    ("free", "quantile"), [(1, 12.7062), (2, 4.3027), (3, 3.1824), (4, 2.7764), (9, 2.2622)]
)
def test_the_interval_is_that_of_the_profile(free: int, quantile: float) -> None:
    """At its ends the residual sum of squares has grown by the F quantile (t squared)."""
    Ts = np.arange(1, free + 4, dtype=float)
    y = 100 + 20 * Ts + 3 * np.cos(9 * Ts)
    found = fit(zip(range(1, free + 4), y, strict=True))

    def misfit(p: float) -> float:
        columns = np.stack([np.ones_like(Ts), Ts**p], axis=1) / y[:, None]
        return float(np.linalg.lstsq(columns, np.ones_like(Ts), rcond=None)[1][0])

    ends = [end for end in (found.low, found.high) if end not in LIMITS]
    assert ends or free == 1
    for end in ends:
        assert misfit(end) / misfit(found.p) == pytest.approx(1 + quantile**2 / free, rel=1e-3)


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        ([], "0 distinct T"),
        ([(1, 5), (2, 9), (4, 17), (4, 17)], "3 distinct T; a fit of a + b*T^p needs 4"),
        ([(1, 5), (2, 5), (4, 5), (8, 5)], "does not depend on T"),
        ([(1, 0), (2, 0), (4, 0), (8, 0)], "does not depend on T"),
        ([(1, 8), (2, 7), (4, 6), (8, 5)], "does not grow with T"),
    ],
)
def test_no_exponent_has_a_reason(points: list[tuple[int, float]], reason: str) -> None:
    found = fit(points)
    assert all(map(math.isnan, (found.p, found.low, found.high)))
    assert reason in str(found.reason)
    assert (found.b, found.basis) == (0, "none")
    if points:
        assert found.at(99) == pytest.approx(np.mean([y for _, y in dict(points).items()]))


def test_what_cannot_be_fitted_is_refused() -> None:
    with pytest.raises(ValueError, match="T >= 1"):
        fit([(0, 1.0)])
    with pytest.raises(ValueError, match="finite"):
        fit([(1, math.nan)])


def test_noise_is_bounded_by_processes() -> None:
    def sample(count: int, seed: int) -> dict[int, list[float]]:
        random = np.random.default_rng(seed)
        return {
            T: list((0.01 + 0.02 * T) * np.exp(random.normal(0, 0.05, count))) for T in (*GRID, 32)
        }

    few, many = fit_noisy(sample(5, 1)), fit_noisy(sample(60, 2))
    for found in (few, many):
        assert found.basis == "processes"
        assert found.low < 1 < found.high
        assert found.low <= found.p <= found.high
    assert many.high - many.low < few.high - few.low
    assert fit_noisy(sample(5, 1)) == few


def test_truth_lies_in_most_intervals() -> None:
    random = np.random.default_rng(3)
    hits = 0
    for _ in range(40):
        data = {T: list((2 + T**1.2) * np.exp(random.normal(0, 0.03, 15))) for T in GRID}
        found = fit_noisy(data)
        hits += found.low <= 1.2 <= found.high
    assert hits >= 34


def test_one_process_falls_back_on_residuals() -> None:
    found = fit_noisy({T: [3.0 + T] for T in GRID})
    assert found.basis == "residuals"
    assert found.p == pytest.approx(1)


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([(T, 9000) for T in GRID], "constant"),
        ([(T, 26000 + 40 * T) for T in GRID], "constant"),
        ([(1, 25000), (2, 26000), (4, 26000), (8, 26000), (16, 26000)], "constant"),
        ([(T, 100 * min(T, 4)) for T in GRID], "constant"),
        ([(T, 0) for T in GRID], "constant"),
        ([(T, 100 * T) for T in GRID], "linear"),
        ([(T, 8352 * (T - 1) + 492) for T in GRID], "linear"),
        ([(T, 900 + 100 * T) for T in (16, 32, 48, 64)], "linear"),
        ([(T, 1000 * T**0.5) for T in GRID], "sublinear"),
        ([(T, 1000 * T**2) for T in GRID], "superlinear"),
        ([(1, 100), (2, 200), (4, 400), (8, 800)], None),
        ([(T, T**1.15) for T in GRID], "superlinear"),
        ([(T, T**0.85) for T in GRID], "sublinear"),
    ],
)
def test_memory_classes(points: list[tuple[int, float]], expected: str | None) -> None:
    assert memory_class(points) == expected


def test_a_declared_class_that_is_wrong_is_told() -> None:
    laws = {"honest": ("constant", 0), "liar": ("constant", 500), "shy": ("linear", 0)}
    trials, rows = [], []
    for method, (declared, slope) in laws.items():
        for T in GRID:
            cell = {"model": "net", "data": "digits", "batch": 4, "dtype": "float32"}
            cell |= LATER
            cell |= {"device": "cpu", "environment": "e", "code": "c", "status": "ok", "T": T}
            name = f"{method} {T}"
            trials.append(cell | {"trial": name, "method": method, "memory_class": declared})
            row = {"trial": name, "metric": "mem.live_after_forward", "phase": "forward"}
            rows += [row | {"value": 1000 + slope * T}, row | {"metric": "x.y", "value": T**3}]
    found = disagreements(pd.DataFrame(trials), pd.DataFrame(rows))
    assert [(d.method, d.declared, d.derived) for d in found] == [
        ("liar", "constant", "linear"),
        ("shy", "linear", "constant"),
    ]
    assert found[0].text == (
        "liar on net (digits, batch 4, float32, cpu, contiguous, eager, torch) declares constant "
        "memory, but the bytes it stores between forward and backward are linear in T, like "
        "T^1.00: 2000 B at T=2, 9000 B at T=16"
    )
    few = pd.DataFrame(trials[:3]), pd.DataFrame(rows[:6])
    assert disagreements(*few) == []
