"""Statistics over processes: pure functions on arrays, no files, no frames.

The statistical unit is the process, never the step: steps of one process share its luck (page
placement, a noisy neighbour), so fifteen of them are worth little more than one. Every summary is
therefore the median of the processes' own medians, and every interval is a bootstrap over
processes. With a single process there is no such interval; what can be shown instead, the
interquartile range of its samples, is labelled as that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEVEL: Final = 0.95
RESAMPLES: Final = 2000
ENOUGH: Final = 6
"""Fewest processes whose bootstrap interval is more than the range of the data."""

Basis = Literal["processes", "samples", "none"]
Ranks = NDArray[np.int64]


@dataclass(frozen=True)
class Estimate:
    """A value and how far it can be trusted, in the unit of the samples.

    `basis` says what `low` and `high` are: "processes", a bootstrap interval over processes;
    "samples", the interquartile range within the only process; "none", not a number.
    """

    value: float
    low: float
    high: float
    processes: int
    basis: Basis


def median(values: ArrayLike) -> float:
    """Median of at least one number."""
    return float(np.median(_numbers(values)))


def interquartile(values: ArrayLike) -> tuple[float, float]:
    """First and third quartile (linear interpolation) of at least one number."""
    low, high = np.quantile(_numbers(values), (0.25, 0.75))
    return float(low), float(high)


def bootstrap_interval(
    values: ArrayLike, *, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the median; the same seed gives the same interval.

    `values` holds one number a process. With fewer than `ENOUGH` processes the interval is the
    range of the data and covers less than `level` promises (Efron and Tibshirani, *An Introduction
    to the Bootstrap*, 1993, chapter 13).

    Raises:
        ValueError: for fewer than two numbers: one process says nothing about the spread between
            processes.
    """
    array = np.sort(_numbers(values))
    if array.size < 2:
        raise ValueError("a bootstrap over processes needs at least two processes; got one")
    if array[0] == array[-1]:
        return float(array[0]), float(array[0])
    below, above = _middles(array.size, resamples, seed)
    medians = (array[below] + array[above]) / 2
    low, high = np.quantile(medians, ((1 - level) / 2, (1 + level) / 2))
    return float(low), float(high)


@cache
def _middles(size: int, resamples: int, seed: int) -> tuple[Ranks, Ranks]:
    """Ranks of the one or two middle values of every resample of `size` sorted values."""
    picks = np.random.default_rng(seed).integers(size, size=(resamples, size))
    ranks = np.sort(picks, axis=1)
    return ranks[:, (size - 1) // 2], ranks[:, size // 2]


def summarise(processes: Sequence[ArrayLike]) -> Estimate:
    """Median over processes of each process's median, with the interval that the data allow.

    `processes` holds the samples of each process; the processes need not have as many samples.
    """
    if not processes:
        raise ValueError("nothing to summarise: no process has a sample")
    if len(processes) > 1:
        return over_processes([median(samples) for samples in processes])
    value = median(processes[0])
    if np.size(processes[0]) > 1:
        low, high = interquartile(processes[0])
        return Estimate(value, low, high, 1, "samples")
    return Estimate(value, math.nan, math.nan, 1, "none")


def over_processes(values: ArrayLike) -> Estimate:
    """Median of one number a process, at least two of them, with its bootstrap interval."""
    low, high = bootstrap_interval(values)
    return Estimate(median(values), low, high, int(np.size(values)), "processes")


def paired_ratio(numerator: ArrayLike, denominator: ArrayLike) -> Estimate:
    """Median ratio of pairs of processes that ran side by side, with a bootstrap over the pairs.

    Pairing cancels what both members of a pair suffered alike. The median is taken of the log
    ratios, so that `paired_ratio(a, b)` is the inverse of `paired_ratio(b, a)`.

    Raises:
        ValueError: if the arrays differ in length or hold a number that is not positive.
    """
    above, below = _numbers(numerator), _numbers(denominator)
    if above.shape != below.shape:
        raise ValueError(f"pairs need equal lengths; got {above.size} and {below.size}")
    if not (np.all(above > 0) and np.all(below > 0)):
        raise ValueError("a ratio needs positive numbers on both sides")
    logs = np.log(above) - np.log(below)
    value = math.exp(median(logs))
    if logs.size < 2:
        return Estimate(value, math.nan, math.nan, 1, "none")
    low, high = bootstrap_interval(logs)
    return Estimate(value, math.exp(low), math.exp(high), int(logs.size), "processes")


def unpaired_ratio(numerator: ArrayLike, denominator: ArrayLike) -> Estimate:
    """Ratio of the medians of two sets of processes, with a bootstrap over each.

    With fewer than `ENOUGH` processes on a side the interval is that of the extremes.

    Raises:
        ValueError: if an array holds a number that is not positive.
    """
    above, below = _numbers(numerator), _numbers(denominator)
    if not (np.all(above > 0) and np.all(below > 0)):
        raise ValueError("a ratio needs positive numbers on both sides")
    value, few = median(above) / median(below), min(above.size, below.size)
    if few < ENOUGH:
        low, high = np.min(above) / np.max(below), np.max(above) / np.min(below)
    else:
        draw = np.random.default_rng(0).choice
        under, over = (
            np.median(draw(side, size=(RESAMPLES, side.size)), axis=1) for side in (below, above)
        )
        low, high = np.quantile(over / under, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Estimate(value, float(low), float(high), few, "processes")


def log_spread(values: ArrayLike) -> float:
    """Standard deviation of the logarithms of positive numbers: a spread free of units.

    Near the coefficient of variation where it is small. One number a process.

    Raises:
        ValueError: for fewer than two numbers, or one that is not positive.
    """
    array = _numbers(values)
    if array.size < 2 or not np.all(array > 0):
        raise ValueError("a spread needs at least two positive numbers")
    return float(np.std(np.log(array), ddof=1))


def _numbers(values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"expected a non-empty list of numbers; got shape {array.shape}")
    if not np.all(np.isfinite(array)):
        raise ValueError("expected finite numbers; got NaN or infinity")
    return array
