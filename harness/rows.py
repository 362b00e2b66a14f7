"""The row: one measured quantity of one trial, as raw samples in SI units.

Summaries (medians, intervals) are never stored: they are recomputed from the samples.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from harness.errors import RowError

SCHEMA_VERSION: Final = 2
"""Shape of a trial record on disk. In version 1 cells have no axis `operators`."""

MEASUREMENT_VERSION: Final = 2
"""Meaning of the figures; raise it when a metric's definition changes. Part of every trial id."""

UNITS: Final = ("s", "B", "J", "FLOP", "1")
KINDS: Final = ("exact", "banded", "noisy", "outcome")

_METRIC = re.compile(r"[a-z]+(\.[a-z0-9_]+)+")
_PHASE = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")


@dataclass(frozen=True)
class Row:
    """One metric in one phase: every sample, in the order in which it was taken.

    Args:
        metric: dotted lower-case name, `group.quantity`, for example `mem.live_peak`.
        phase: part of the step or run that the figure belongs to, for example `forward` or `step`;
            for a figure of one layer, the path of its module or parameter, for example
            `layer1.0.conv1`.
        unit: one of `UNITS`: seconds, bytes, joules, floating-point operations, or a pure number.
        kind: how the figure may be compared: `exact` by equality, `banded` within a tolerance,
            `noisy` by intervals over processes, `outcome` reported.
        values: finite numbers, at least one; whole numbers where the kind is `exact`.

    Raises:
        RowError: if any of the above does not hold.
    """

    metric: str
    phase: str
    unit: str
    kind: str
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse what the tables could not hold."""
        where = f"row {self.metric!r} (phase {self.phase!r})"
        if not _METRIC.fullmatch(self.metric):
            raise RowError(f"{where}: the metric must look like 'group.quantity', in lower case")
        if not _PHASE.fullmatch(self.phase):
            raise RowError(f"{where}: the phase must be a word or a dotted module path")
        if self.unit not in UNITS:
            raise RowError(f"{where}: unit {self.unit!r} is not one of {', '.join(UNITS)}")
        if self.kind not in KINDS:
            raise RowError(f"{where}: kind {self.kind!r} is not one of {', '.join(KINDS)}")
        if not self.values:
            raise RowError(f"{where}: no samples; leave the row out and record a fact instead")
        for value in self.values:
            if not math.isfinite(value):
                raise RowError(f"{where}: sample {value!r} is not finite")
            if self.kind == "exact" and value != int(value):
                raise RowError(f"{where}: exact figures are whole numbers, not {value!r}")

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary for a JSON record."""
        return {
            "metric": self.metric,
            "phase": self.phase,
            "unit": self.unit,
            "kind": self.kind,
            "values": list(self.values),
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Row:
        """Inverse of `to_json`; unknown newer keys are ignored.

        Raises:
            RowError: if a key is missing or a value breaks the schema.
        """
        try:
            values = tuple(plain["values"])
            return cls(plain["metric"], plain["phase"], plain["unit"], plain["kind"], values)
        except (KeyError, TypeError) as error:
            raise RowError(f"not a row: {dict(plain)!r}: {error!r}") from error
