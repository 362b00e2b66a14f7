"""Exact figures against recorded ones: what has changed, and whether that is worse.

Of every exact figure (bytes, operators, floating-point operations) more is worse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from harness.gate.baseline import STATUS, CellName, Figures, RecordedFigure, figures, lines
from harness.gate.verdict import Change, Verdict
from harness.outcome import Outcome

Commands = Callable[[CellName], tuple[str, str]]
"""How to count a cell again, and how to record what was counted."""

RECORDABLE: Final = ("ok", "skipped")
"""What may stand in a baseline: figures, and a method's refusal. Anything else is a fault."""


def compare(
    recorded: Mapping[CellName, Figures], found: Mapping[CellName, Outcome], commands: Commands
) -> tuple[list[Change], list[str]]:
    """Every change, in the order of the cells, and the lines that the baseline would gain."""
    changes: list[Change] = []
    rows: list[str] = []
    for place in sorted(recorded.keys() | found.keys()):
        before, told = recorded.get(place), found.get(place)
        maker = _Maker(place, *commands(place))
        if told is None:
            changes.append(maker.cell(_summary(before or {}), None, Verdict.VANISHED))
            continue
        now = figures(told)
        if before is not None and before == now and told.status in RECORDABLE:
            continue
        changes += maker.changes(before, told)
        if told.status in RECORDABLE:
            rows += _differing(place, before or {}, now)
    return changes, rows


@dataclass(frozen=True)
class _Maker:
    """Makes the changes of one cell."""

    place: CellName
    reproduce: str
    accept: str

    def changes(self, before: Figures | None, told: Outcome) -> Iterator[Change]:
        """What has changed between two counts of the cell that differ."""
        was = None if before is None else _summary(before)
        now = f"{told.status}: {told.error}" if told.error else _summary(figures(told))
        if told.status == "timeout":
            yield self.cell(was, now, Verdict.UNANSWERED)
        elif told.status not in RECORDABLE:
            yield self.cell(was, now, Verdict.FAILED)
        elif before is None:
            yield self.cell(was, now, Verdict.NEW)
        elif told.status != _status(before):
            verdict = Verdict.REFUSED if told.status == "skipped" else Verdict.BETTER
            yield self.cell(was, now, verdict)
        else:
            yield from self._figures(before, figures(told))

    def cell(self, was: str | None, now: str | None, verdict: Verdict) -> Change:
        """A change of the cell as a whole."""
        return self._change("cell", was, now, verdict)

    def _figures(self, before: Figures, after: Figures) -> Iterator[Change]:
        for key in sorted(before.keys() | after.keys()):
            quantity = ", ".join(key)
            if key not in after:
                was = before[key]
                yield self._change(quantity, was.value, None, Verdict.VANISHED, was.unit)
            elif key not in before:
                now = after[key]
                yield self._change(quantity, None, now.value, Verdict.NEW, now.unit)
            elif before[key] != after[key]:
                a, b = int(before[key].value), int(after[key].value)
                verdict = Verdict.WORSE if b > a else Verdict.BETTER
                ratio = b / a if a > 0 else None
                yield self._change(quantity, a, b, verdict, after[key].unit, ratio)

    def _change(
        self,
        quantity: str,
        was: int | str | None,
        now: int | str | None,
        verdict: Verdict,
        unit: str = "",
        ratio: float | None = None,
    ) -> Change:
        # What failed cannot be recorded.
        accept = "" if verdict in (Verdict.FAILED, Verdict.UNANSWERED) else self.accept
        return Change(
            subject=str(self.place),
            quantity=quantity,
            before=was,
            after=now,
            verdict=verdict,
            unit=unit,
            ratio=ratio,
            reproduce=self.reproduce,
            accept=accept,
        )


def _differing(place: CellName, before: Figures, after: Figures) -> list[str]:
    """The lines of a cell that are not recorded as they are."""
    return lines(place, {key: each for key, each in after.items() if before.get(key) != each})


def _status(found: Figures) -> str:
    return str(found.get(STATUS, RecordedFigure("ok")).value)


def _summary(found: Figures) -> str:
    status = _status(found)
    return f"{len(found)} figures" if status == "ok" else status
