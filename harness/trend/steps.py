"""Where a series moved for good: steps of at least 5 %, with three points on each side.

Two passes over the logarithms of the values. First the partition into constant stretches with the
least sum of squares plus a price for each step, over all partitions at once, so that a rise and its
repair are both found where splitting at one place would see neither (Potts functional, as asv has
it). Then each step must convince by itself: a two-sided t test between its neighbours, corrected
for the places where it could have been, and an effect of at least 5 %; the least convincing step is
dropped until all convince.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

LEAST_POINTS: Final = 3
LEAST_EFFECT: Final = math.log(1.05)
LEVEL: Final = 0.01

_PRICE: Final = 3.0
"""Of a step, in variances, times the logarithm of the number of points."""

_FLOOR: Final = 1e-4
"""Noise (log) below which nobody asks: exact figures have none at all."""

_TO_SIGMA: Final = 1.4826 / math.sqrt(2)
"""From the median absolute difference of neighbours to a standard deviation."""


@dataclass(frozen=True)
class Step:
    """`values[at]` is the first point after the step; `ratio` is the level after over before."""

    at: int
    ratio: float
    p: float


def find(values: Sequence[float]) -> list[Step]:
    """The steps of a series in time order.

    Raises:
        ValueError: if a value is not a positive number.
    """
    array = np.asarray(values, dtype=np.float64)
    if not np.all(np.isfinite(array) & (array > 0)):
        raise ValueError("steps are relative: every value must be a positive number")
    if array.size < 2 * LEAST_POINTS:
        return []
    logs = np.log(array)
    change_points = _partition(logs)
    while change_points:
        steps = [_step(logs, change_points, number) for number in range(len(change_points))]
        weakest = max(steps, key=lambda step: (_small(step), step.p))
        if not _small(weakest) and weakest.p <= LEVEL:
            return steps
        change_points.remove(weakest.at)
    return []


def _small(step: Step) -> bool:
    return abs(math.log(step.ratio)) < LEAST_EFFECT


def _partition(logs: NDArray[np.float64]) -> list[int]:
    """Starts of the stretches but the first, by dynamic programming."""
    n = logs.size
    price = _PRICE * math.log(n) * _noise(logs) ** 2
    sums, squares = (np.concatenate([[0.0], np.cumsum(x)]) for x in (logs, logs**2))
    best, start = [0.0] + [math.inf] * n, [0] * (n + 1)
    for end in range(LEAST_POINTS, n + 1):
        for begin in range(end - LEAST_POINTS + 1):
            total, length = sums[end] - sums[begin], end - begin
            spread = max(0.0, squares[end] - squares[begin] - total**2 / length)
            cost = best[begin] + spread + price
            if cost < best[end]:
                best[end], start[end] = cost, begin
    change_points, end = [], n
    while (end := start[end]) > 0:
        change_points.append(end)
    return change_points[::-1]


def _noise(logs: NDArray[np.float64]) -> float:
    """Standard deviation between runs, from neighbours, so that steps do not count as noise."""
    return max(_FLOOR, float(np.median(np.abs(np.diff(logs)))) * _TO_SIGMA)


def _step(logs: NDArray[np.float64], change_points: Sequence[int], number: int) -> Step:
    bounds = [0, *change_points, logs.size]
    before = logs[bounds[number] : bounds[number + 1]]
    after = logs[bounds[number + 1] : bounds[number + 2]]
    freedom = before.size + after.size - 2
    pooled = (before.var() * before.size + after.var() * after.size) / freedom
    scale = math.sqrt(max(pooled, _FLOOR**2) * (1 / before.size + 1 / after.size))
    shift = float(after.mean() - before.mean())
    places = freedom + 2 - 2 * LEAST_POINTS + 1
    p = min(1.0, two_sided(shift / scale, freedom) * places)
    return Step(change_points[number], math.exp(shift), p)


def two_sided(t: float, freedom: int) -> float:
    """P(|T| >= |t|) of Student's distribution with a whole number of degrees of freedom.

    Source: Abramowitz and Stegun 26.7.3 and 26.7.4, finite sums.
    """
    theta = math.atan(abs(t) / math.sqrt(freedom))
    cosine, odd = math.cos(theta), freedom % 2
    # Terms: cos + 2/3 cos^3 + (2 4)/(3 5) cos^5 ... or 1 + 1/2 cos^2 + (1 3)/(2 4) cos^4 ...
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    for number in range(1 + odd, freedom, 2):
        total += term
        term *= cosine**2 * number / (number + 1)
    inside = math.sin(theta) * total
    return 1.0 - (2 / math.pi * (theta + inside) if odd else inside)
