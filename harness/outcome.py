"""The outcome: what an attempt at a trial ended in, from the worker's answer to the record.

The process that counts or measures makes one and writes it as JSON; the parent reads it, adds when
and how long, and judges it; the record of the trial is written from it. A process that ends without
an answer, a cell that only was planned and a trial that was skipped end in an outcome as well.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from harness.errors import RowError
from harness.rows import Row

STATUSES: Final = ("ok", "crash", "timeout", "oom_host", "oom_cuda", "invalid", "skipped")

UNREADABLE: Final = (OSError, ValueError, KeyError, TypeError, AttributeError, RowError)
"""What reading an answer raises that is none."""


@dataclass(frozen=True)
class Outcome:
    """How one attempt at a trial ended.

    Attributes:
        status: one of `STATUSES`.
        error: why it is not "ok".
        rows, facts: the figures, and what else the process said of itself.
        started: when the process began, an ISO 8601 time; empty where nobody has noted it.
        seconds: how long it lived, or worked on the cell.
    """

    status: str
    error: str | None = None
    rows: tuple[Row, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    started: str = ""
    seconds: float = 0.0

    def row(self, metric: str, phase: str | None = None) -> Row | None:
        """The first row of a metric, of one phase or of any; None if there is none."""
        mine = (row for row in self.rows if row.metric == metric)
        return next((row for row in mine if phase in (None, row.phase)), None)

    def figure(self, metric: str, phase: str = "step") -> int:
        """One exact figure, in the unit of its row.

        Raises:
            KeyError: if there is no such row, as in an outcome whose status is not "ok".
        """
        found = self.row(metric, phase)
        if found is None:
            raise KeyError(f"{metric} ({phase})")
        return int(found.values[0])

    @property
    def demand(self) -> int:
        """Bytes of tensors at the peak of a step: persistent ones and live ones together."""
        return self.figure("mem.persistent") + self.figure("mem.live_peak")

    def to_json(self) -> dict[str, Any]:
        """What a process says of itself, as a plain dictionary."""
        return {
            "status": self.status,
            "error": self.error,
            "rows": [row.to_json() for row in self.rows],
            "facts": dict(self.facts),
        }

    @classmethod
    def from_text(cls, text: str) -> Outcome:
        """Read a process's answer: JSON as `to_json` gives it, and perhaps its `seconds`.

        Raises:
            Exception: one of `UNREADABLE`, if it is no such answer.
        """
        plain = json.loads(text)
        if plain["status"] not in STATUSES:
            raise ValueError(f"status {plain['status']!r} is not one of {', '.join(STATUSES)}")
        rows = tuple(map(Row.from_json, plain["rows"]))
        facts = dict(plain["facts"].items())
        seconds = plain.get("seconds", 0.0)
        return cls(plain["status"], plain["error"], rows, facts, seconds=seconds)
