"""How a figure grows with T: the law `a + b * T^p` and the exponent's interval.

The law has an intercept because a plain log-log slope looks sub-linear at small T: it mistakes what
does not depend on T for slow growth. Residuals are relative, so that every T counts alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from harness.results.stats import LEVEL, RESAMPLES, median

LIMITS: Final = (0.05, 4.0)
"""Exponents that are tried. An interval that ends at one of them is open on that side."""

FEWEST: Final = 4
"""Fewest distinct T: the law has three parameters, and a fourth point can contradict it."""

_GRID: Final = 80
_ZOOM: Final = 21
_ZOOMS: Final = 9
_ROUGH: Final = 2  # zooms of a resample: its exponent is one of thousands
_EXACT: Final = 1e-9

Floats = NDArray[np.float64]
Basis = Literal["residuals", "processes", "none"]
Points = Iterable[tuple[int, float]]


@dataclass(frozen=True)
class Growth:
    """The law `a + b * T^p` that fits best, in the unit of the points.

    `low` and `high` bound the exponent at the level of `results.stats`: by the profile of the
    residuals, or by a bootstrap over processes; `basis` says which. `misfit` is the largest
    relative residual. Where there is no exponent it is NaN and `reason` says why; `a` is then the
    mean level.
    """

    a: float
    b: float
    p: float
    low: float
    high: float
    basis: Basis
    misfit: float
    reason: str | None = None

    def at(self, T: float) -> float:
        """The law's value at T; for data that do not grow, their level."""
        return self.a if math.isnan(self.p) else self.a + self.b * T**self.p


def fit(points: Points) -> Growth:
    """Fit exact points (T, value): several at one T count as one, their median.

    The interval holds the exponents whose residual sum of squares is within the F quantile of the
    least one (profile likelihood; Bates and Watts, *Nonlinear Regression Analysis*, 1988, 6.1). If
    the points follow the law it shrinks to the exponent.

    Raises:
        ValueError: for a T below 1, or a value that is not finite.
    """
    T, y = columns(points)
    refusal = _refusal(T, y)
    if refusal is not None:
        return refusal
    p, a, b = (float(part[0]) for part in _best(T, y[None]))
    if b == 0:
        return _flat(y, "it does not grow with T: no positive b fits better than a constant")
    free = T.size - 3
    least = _misfit(T, y, p)
    most = least * (1 + _student(free) ** 2 / free) + T.size * _EXACT**2
    ends = [_edge(T, y, p, limit, most) for limit in LIMITS]
    worst = float(np.max(np.abs((a + b * T**p - y) * _weights(y))))
    return Growth(a, b, p, ends[0], ends[1], "residuals", worst)


def fit_noisy(processes: Mapping[int, Sequence[float]], seed: int = 0) -> Growth:
    """Fit the medians of noisy figures; `processes` holds one number a process for each T.

    The interval is a percentile bootstrap over processes, resampled within each T. Where a T has a
    single process there is none to be had, and the interval is that of `fit`.
    """
    centre = fit((T, median(values)) for T, values in processes.items())
    if centre.reason is not None or min(map(len, processes.values())) < 2:
        return centre
    random = np.random.default_rng(seed)
    drawn = []
    for T in sorted(processes):
        values = np.asarray(processes[T], dtype=np.float64)
        drawn.append(
            np.median(values[random.integers(values.size, size=(RESAMPLES, values.size))], axis=1)
        )
    # Few processes have few different resamples.
    rows, which = np.unique(np.stack(drawn, axis=1), axis=0, return_inverse=True)
    p, _, b = _best(np.array(sorted(processes), dtype=np.float64), rows, _ROUGH)
    p[b == 0] = LIMITS[0]  # a resample that does not grow bounds nothing from below
    p = p[which.reshape(-1)]
    low, high = np.quantile(p, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Growth(centre.a, centre.b, centre.p, float(low), float(high), "processes", centre.misfit)


def columns(points: Points) -> tuple[Floats, Floats]:
    """Distinct T in rising order, and the median value at each."""
    by_T: dict[int, list[float]] = {}
    for T, value in points:
        if T < 1 or not math.isfinite(value):
            raise ValueError(f"expected T >= 1 and a finite value; got T={T}, {value}")
        by_T.setdefault(T, []).append(float(value))
    order = sorted(by_T)
    return np.array(order, dtype=np.float64), np.array([median(by_T[T]) for T in order])


def _refusal(T: Floats, y: Floats) -> Growth | None:
    """The answer where no exponent exists."""
    if T.size < FEWEST:
        return _flat(y, f"{T.size} distinct T; a fit of a + b*T^p needs {FEWEST}")
    if np.all(y == y[0]):
        return _flat(y, "it does not depend on T")
    return None


def _flat(y: Floats, reason: str) -> Growth:
    level = float(np.mean(y)) if y.size else math.nan
    misfit = float(np.max(np.abs(y - level) * _weights(y))) if y.size else math.nan
    return Growth(level, 0.0, math.nan, math.nan, math.nan, "none", misfit, reason)


def _weights(y: Floats) -> Floats:
    """What makes the residuals of each row [..., n] relative.

    A common scale in a row where a value is not positive.
    """
    positive = np.all(y > 0, axis=-1, keepdims=True)
    scale = np.max(np.abs(y), axis=-1, keepdims=True)
    return 1 / np.where(positive, y, np.where(scale > 0, scale, 1.0))


def _profile(T: Floats, y: Floats, p: Floats) -> tuple[Floats, Floats, Floats]:
    """For every row of y [R, n] and each exponent of p [R, G]: residual sum of squares, a, b."""
    w = _weights(y)[:, None, :]
    y = y[:, None, :]
    x = (T / T[-1]) ** p[..., None]  # scaled: T^4 beside T^0.05 would lose digits
    total = np.sum(w**2, axis=-1)
    x_mean = np.sum(w**2 * x, axis=-1) / total
    y_mean = np.sum(w**2 * y, axis=-1) / total
    away = w * (x - x_mean[..., None])
    b = np.sum(away * w * (y - y_mean[..., None]), axis=-1) / np.sum(away**2, axis=-1)
    b = np.maximum(b, 0)
    a = y_mean - b * x_mean
    rss = np.sum((w * (a[..., None] + b[..., None] * x - y)) ** 2, axis=-1)
    return rss, a, b / T[-1] ** p


def _best(T: Floats, y: Floats, zooms: int = _ZOOMS) -> tuple[Floats, Floats, Floats]:
    """p, a, b [R] of least squares for every row of y [R, n], by a grid that closes in."""
    rows = np.arange(len(y))
    low, high = _bracket(T, y)
    for _ in range(zooms):
        p = np.linspace(low, high, _ZOOM, axis=1)
        rss, a, b = _profile(T, y, p)
        pick = np.argmin(rss, axis=1)
        low, high = p[rows, np.maximum(pick - 1, 0)], p[rows, np.minimum(pick + 1, _ZOOM - 1)]
    return p[rows, pick], a[rows, pick], b[rows, pick]


def _bracket(T: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Exponents around the best of a grid for every row of y [R, n].

    From the moments of all rows at once, as products of matrices: they lose the digits that only
    the zooms need, and thousands of resamples share one grid.
    """
    p = np.linspace(*LIMITS, _GRID)
    x = (T / T[-1]) ** p[:, None]
    w = _weights(y) ** 2
    total, y_sum = np.sum(w, axis=1)[:, None], np.sum(w * y, axis=1)[:, None]
    x_sum = w @ x.T
    spread = w @ (x**2).T - x_sum**2 / total
    shared = (w * y) @ x.T - x_sum * y_sum / total
    pick = np.argmax(np.maximum(shared, 0) ** 2 / spread, axis=1)  # what the law explains
    return p[np.maximum(pick - 1, 0)], p[np.minimum(pick + 1, _GRID - 1)]


def _misfit(T: Floats, y: Floats, p: float) -> float:
    return float(_profile(T, y[None], np.array([[p]]))[0][0, 0])


def _edge(T: Floats, y: Floats, inside: float, outside: float, most: float) -> float:
    """Where the misfit passes `most` between the best exponent and a limit, by bisection."""
    if _misfit(T, y, outside) <= most:
        return outside
    for _ in range(60):
        middle = (inside + outside) / 2
        if _misfit(T, y, middle) <= most:
            inside = middle
        else:
            outside = middle
    return inside


def _student(free: int) -> float:
    """Two-sided quantile of Student's t at `LEVEL`, `free` degrees of freedom.

    Bisection on the closed form for whole degrees (Abramowitz and Stegun, 1964, 26.7.3, 26.7.4).
    """
    low, high = 0.0, math.pi / 2
    for _ in range(80):
        angle = (low + high) / 2
        low, high = (angle, high) if _within(angle, free) < LEVEL else (low, angle)
    return math.sqrt(free) * math.tan(angle)


def _within(angle: float, free: int) -> float:
    """Probability that |t| < sqrt(free) * tan(angle)."""
    cosine, odd = math.cos(angle), free % 2
    term = cosine if odd else 1.0
    total = 0.0
    for power in range(2 + odd, free + 1, 2):
        total += term
        term *= cosine**2 * (power - 1) / power
    total *= math.sin(angle)
    return (angle + total) * 2 / math.pi if odd else total
