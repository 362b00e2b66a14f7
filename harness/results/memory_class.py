"""The memory class of a method: how what it keeps grows with T, and whether it says so."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from harness.results.growth import FEWEST, Growth, Points, columns, fit
from harness.spec import SPLITS

FIRST: Final = 2
"""T from which memory is classed: at T=1 some methods need no trace yet."""

FLAT: Final = 0.05
"""Growth per added time step, in parts of what one step stores, that still counts as none."""

LINEAR: Final = 0.1
"""How far from 1 the exponent of linear growth may be."""

STORED: Final = ("mem.live_after_forward", "forward")
"""Metric and phase that the memory class is about: what is kept from forward to backward. The peak
would not do: it has transients of one layer over all time steps that no method keeps."""


@dataclass(frozen=True)
class Disagreement:
    """A method whose stored bytes do not grow as it declares, on one network."""

    method: str
    where: str
    declared: str
    derived: str
    growth: Growth
    first: tuple[int, float]
    last: tuple[int, float]

    @property
    def text(self) -> str:
        """One sentence for tables and the report."""
        (T0, y0), (T1, y1) = self.first, self.last
        law = "" if math.isnan(self.growth.p) else f", like T^{self.growth.p:.2f}"
        return (
            f"{self.method} on {self.where} declares {self.declared} memory, but the bytes it "
            f"stores between forward and backward are {self.derived} in T{law}: "
            f"{y0:.0f} B at T={T0}, {y1:.0f} B at T={T1}"
        )


def memory_class(points: Points) -> str | None:
    """Class stored bytes (T, bytes): constant, sublinear, linear, superlinear; None for too few T.

    From T = `FIRST` on. A step's worth of activations is what is stored at the smallest such T,
    divided by that T. Bytes that grow by less than `FLAT` of it per time step over the upper half
    of the T are constant: a few scalars a step make no method linear, and a window that is full
    grows no more. Else the exponent decides, within `LINEAR` of 1.
    """
    T, y = columns((T, value) for T, value in points if T >= FIRST)
    if T.size < FEWEST:
        return None
    upper = T.size // 2
    slope = (y[-1] - y[upper]) / (T[-1] - T[upper])
    if slope <= FLAT * y[0] / T[0]:
        return "constant"
    exponent = fit(zip(T.astype(int).tolist(), y.tolist(), strict=True)).p
    if abs(exponent - 1) <= LINEAR:
        return "linear"
    return "sublinear" if exponent < 1 else "superlinear"


def disagreements(trials: pd.DataFrame, measurements: pd.DataFrame) -> list[Disagreement]:
    """Methods whose declared memory class is not the measured one, from the tables of a sweep.

    Cells with too few T to tell are left out.
    """
    metric, phase = STORED
    rows = measurements[(measurements["metric"] == metric) & (measurements["phase"] == phase)]
    rows = rows.merge(trials[trials["status"] == "ok"], on="trial")
    where = ["method", *SPLITS]
    keys = [*where, "environment", "code"]
    found = []
    groups: Any = rows.groupby([*keys, "memory_class"], dropna=False, sort=True)
    for key, part in groups:
        points = sorted((int(T), float(y)) for T, y in zip(part["T"], part["value"], strict=True))
        derived, declared = memory_class(points), str(key[-1])
        if derived in (None, declared):
            continue
        method, model, data, batch, *others = key[: len(where)]
        place = f"{model} ({data}, batch {batch}, {', '.join(map(str, others))})"
        kept = [point for point in points if point[0] >= FIRST]
        found.append(
            Disagreement(str(method), place, declared, str(derived), fit(kept), kept[0], kept[-1])
        )
    return found
