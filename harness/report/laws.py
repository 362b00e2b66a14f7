"""The growth laws of a group, fitted once for every panel that shows them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.report.estimates import Group, centres_of
from harness.results import growth, memory_class
from harness.results.quantities import GROWING, Quantity, number

Floats = NDArray[np.float64]
NARROW: Final = 0.02
"""An interval of the exponent narrower than this is no wider than the line that would show it."""


@dataclass(frozen=True)
class Law:
    """A method's law with the points (T, value) that it was fitted to, one a process."""

    growth: growth.Growth
    points: tuple[tuple[int, float], ...]

    def at(self, T: Floats) -> Floats:
        """The fitted values; for data that do not grow, their level."""
        law = self.growth
        flat = math.isnan(law.p)
        return np.full_like(T, law.a) if flat else np.asarray(law.a + law.b * T**law.p)

    @property
    def band(self) -> tuple[float, float] | None:
        """The ends of the exponent's interval, where it is wide enough to be seen."""
        low, high = self.growth.low, self.growth.high
        return (low, high) if high - low > NARROW else None

    def edge(self, p: float, T: Floats) -> Floats:
        """The law with exponent `p` that fits the points best, at T."""
        x, y = (np.array(part, dtype=np.float64) for part in zip(*self.points, strict=True))
        weights = 1 / y if np.all(y > 0) else np.ones_like(y)
        design = np.stack([np.ones_like(x), x**p], axis=1) * weights[:, None]
        (a, b), *_ = np.linalg.lstsq(design, y * weights, rcond=None)
        return np.asarray(a + b * T**p)

    def words(self, unit: str) -> str:
        """The law as one line."""
        law = self.growth
        if math.isnan(law.p):
            return f"{number(law.a)} {unit}: {law.reason}"
        ends = f"p in [{law.low:.2f}, {law.high:.2f}]"
        return f"{number(law.a)} + {number(law.b)}·T^{law.p:.2f} {unit}, {ends}"


def laws(group: Group, quantity: Quantity) -> dict[str, Law]:
    """Method -> law, for a quantity whose growth is of interest, measured at enough T."""
    if quantity.key not in GROWING:
        return {}
    by_method: dict[str, dict[int, list[float]]] = {}
    for (method, T), centres in centres_of(group, quantity).items():
        by_method.setdefault(method, {})[T] = list(centres.values())
    return {
        method: _law(points, exact=quantity.probe == "memory")
        for method, points in by_method.items()
        if len(points) >= growth.FEWEST
    }


def _law(points: dict[int, list[float]], *, exact: bool) -> Law:
    """Exact figures are equal in every repeat: there is nothing to resample."""
    flat = tuple((T, value) for T, values in points.items() for value in values)
    return Law(growth.fit(flat) if exact else growth.fit_noisy(points), flat)


def class_of(law: Law) -> str | None:
    """The class that the law's points have; None for too few T."""
    return memory_class.memory_class(law.points)
