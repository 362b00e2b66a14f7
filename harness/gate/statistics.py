"""The time tier's statistics: exact at eight pairs, and no assumption of normality.

A pair is two processes that ran one after the other, one on each side; what it says is one
difference of log ratios. Its distribution under "no change" is symmetric, because which side went
first alternates; that is all that the signed-rank test needs.

::

    shift     median of all (d[i] + d[j]) / 2, i <= j        Hodges and Lehmann 1963
    interval  the (c+1)-th smallest and largest of these, where c is the largest number with
              P(W <= c) <= alpha, and W is Wilcoxon's signed-rank statistic
    P(W = w)  subsets of {1..n} with sum w, over 2^n

Ties and zeros make the test err on the safe side: an average that equals the bound counts for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.gate.verdict import Verdict

ALPHA: Final = 0.025
"""Error allowed in one direction, for all families of a job together, at one look."""

LEAST_MARGIN: Final = math.log(1.05)
"""Changes up to 5 % are nobody's business, however surely they are seen."""


@dataclass(frozen=True)
class Shift:
    """What the pairs of one family say: logarithms of head over base.

    `low` and `high` are the family's own interval, each bound wrong with probability `ALPHA` at
    most; infinite where there are too few pairs. The verdicts SLOWER and FASTER are corrected for
    the number of families, so an interval may clear the margin and the verdict be INCONCLUSIVE.
    """

    verdict: Verdict
    shift: float
    low: float
    high: float
    pairs: int


def averages(differences: ArrayLike) -> NDArray[np.float64]:
    """The n(n+1)/2 averages of two differences, each with itself too, sorted (Walsh averages).

    Raises:
        ValueError: unless there is at least one difference and all are finite.
    """
    d = np.asarray(differences, dtype=np.float64)
    if d.ndim != 1 or d.size == 0 or not np.all(np.isfinite(d)):
        raise ValueError("expected at least one finite difference")
    rows, columns = np.triu_indices(d.size)
    return np.sort((d[rows] + d[columns]) / 2)


def shift(differences: ArrayLike) -> float:
    """The Hodges-Lehmann estimate: median of the averages of two."""
    return float(np.median(averages(differences)))


@cache
def counts(pairs: int) -> tuple[int, ...]:
    """How many of the 2^n sign patterns give each signed-rank sum 0, 1, ..., n(n+1)/2."""
    ways = [1]
    for rank in range(1, pairs + 1):
        longer = ways + [0] * rank
        for total, number in enumerate(ways):
            longer[total + rank] += number
        ways = longer
    return tuple(ways)


def p_above(differences: ArrayLike, bound: float) -> float:
    """Exact one-sided p of "the shift is at most `bound`": small where it is surely more."""
    found = averages(differences)
    n = int(np.size(differences))
    at_least = int(np.count_nonzero(found > bound))
    return float(sum(counts(n)[at_least:]) / 2**n)


def interval(differences: ArrayLike, alpha: float = ALPHA) -> tuple[float, float]:
    """Bounds of the shift, each wrong with probability `alpha` at most.

    Infinite where no bound exists: 2.5 % needs six pairs, 0.5 % eight.
    """
    found, n = averages(differences), int(np.size(differences))
    critical = _critical_value(n, alpha)
    if critical < 0:
        return -math.inf, math.inf
    return float(found[critical]), float(found[-1 - critical])


@cache
def _critical_value(pairs: int, alpha: float) -> int:
    """The largest c with P(W <= c) <= alpha; -1 if there is none."""
    below = 0
    for total, number in enumerate(counts(pairs)):
        below += number
        if below > alpha * 2**pairs:
            return total - 1
    raise ValueError(f"alpha must be below 1; got {alpha}")


def holm(p_values: Mapping[str, float], alpha: float = ALPHA) -> frozenset[str]:
    """Names whose hypothesis is rejected, all of them wrongly with probability `alpha` at most.

    Source: Holm 1979: from the smallest p on, the i-th of m is compared with alpha / (m - i), and
    the first that is larger ends it.
    """
    rejected: set[str] = set()
    for name in sorted(p_values, key=lambda name: p_values[name]):
        if p_values[name] > alpha / (len(p_values) - len(rejected)):
            break
        rejected.add(name)
    return frozenset(rejected)


def margin(placebo: ArrayLike) -> float:
    """How large a shift must be to count: 5 %, or twice what identical code shows in this job."""
    return max(LEAST_MARGIN, 2 * abs(shift(placebo)))


def alarms(placebo: ArrayLike) -> bool:
    """Whether identical code looks different, by the rule that families are judged with.

    The margin is the least one: one that is made of the placebo itself would never be crossed.
    """
    finding = judge({"placebo": placebo}, LEAST_MARGIN)["placebo"]
    return finding.verdict in (Verdict.SLOWER, Verdict.FASTER)


def judge(families: Mapping[str, ArrayLike], margin: float) -> dict[str, Shift]:
    """One claim a family, from its differences of log ratios, head minus base.

    SLOWER and FASTER: the shift is surely beyond the margin, with Holm's correction over the
    families in each direction. SAME: the family's own interval lies inside the margin; nobody is
    harmed by that word, so it is not corrected. INCONCLUSIVE: neither.
    """
    slower = holm({name: p_above(d, margin) for name, d in families.items()})
    faster = holm({name: p_above(np.negative(d), margin) for name, d in families.items()})
    found = {}
    for name, differences in families.items():
        low, high = interval(differences)
        verdict = Verdict.INCONCLUSIVE
        if name in slower:
            verdict = Verdict.SLOWER
        elif name in faster:
            verdict = Verdict.FASTER
        elif -margin < low and high < margin:
            verdict = Verdict.EQUAL
        found[name] = Shift(verdict, shift(differences), low, high, int(np.size(differences)))
    return found


def combine(cells: Sequence[ArrayLike]) -> NDArray[np.float64]:
    """A family's differences: pair by pair the mean over its cells, `[cells, pairs]` to `[pairs]`.

    Raises:
        ValueError: if the cells have unequal numbers of pairs.
    """
    arrays = [np.asarray(cell, dtype=np.float64) for cell in cells]
    if len({array.size for array in arrays}) != 1:
        raise ValueError("every cell of a family needs the same number of pairs")
    mean: NDArray[np.float64] = np.stack(arrays).mean(axis=0)
    return mean
