"""What a gate found, for a pull request (Markdown) and for other programs (JSON)."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Final

from harness.gate.verdict import SEVERITY, Change, Exit, GateReport

MOST: Final = 60
"""Changes that a table shows; a service refuses comments of more than 65,536 characters."""

_ROWS: Final = 200
_COMMANDS: Final = 8
_TEXT: Final = 160
_NAMES: Final = {"B": " B", "FLOP": " FLOP", "s": " s", "J": " J"}


def ordered(changes: Sequence[Change]) -> list[Change]:
    """The gravest first; changes of one subject stay together."""
    gravest: dict[str, tuple[int, float]] = {}
    for change in changes:
        gravest[change.subject] = max(gravest.get(change.subject, (0, 0.0)), _gravity(change))
    return sorted(
        changes,
        key=lambda each: (
            *(-part for part in gravest[each.subject]),
            each.subject,
            *(-part for part in _gravity(each)),
        ),
    )


def title(report: GateReport) -> str:
    """`exact gate: regression (exit code 1)`."""
    return f"{report.tier} gate: {report.exit.words} (exit code {report.exit:d})"


def summary(report: GateReport) -> str:
    """What was compared, and how many changes of each verdict there are."""
    counts = Counter(change.verdict for change in ordered(report.changes))
    found = ", ".join(f"{count} {verdict}" for verdict, count in counts.items()) or "no change"
    return report.compared if not _counted(report) else f"{report.compared}: {found}"


def shown(value: float | str | None, unit: str) -> str:
    """A figure with its unit: `45,678 B`, `0.1234 s`; text in one line, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, str):
        first, *more = value.splitlines() or [""]
        line = f"{first} ... {more[-1].strip()}" if more else first
        return line if len(line) <= _TEXT else f"{line[:_TEXT]} ..."
    number = f"{value:,d}" if isinstance(value, int) else f"{value:.4g}"
    return number + _NAMES.get(unit, "")


def difference(change: Change) -> str:
    """By how much: `+1 B (+0.0022 %)` for whole numbers, `+5.3 %` for others."""
    a, b = change.before, change.after
    parts: list[str] = []
    if isinstance(a, int) and isinstance(b, int):
        parts.append(f"{b - a:+,d}{_NAMES.get(change.unit, '')}")
    if change.ratio is not None:
        percent = f"{(change.ratio - 1) * 100:+.2g} %"
        parts.append(f"({percent})" if parts else percent)
    return " ".join(parts)


def commands(changes: Iterable[Change], kind: str) -> list[str]:
    """The distinct commands of one kind, `reproduce` or `accept`, in the order of the changes."""
    found = dict.fromkeys(getattr(change, kind) for change in changes)
    return [command for command in found if command]


def markdown(report: GateReport) -> str:
    """A section for a pull request: what, by how much, how certain, how to repeat and accept it."""
    changes = ordered(report.changes)
    parts: list[str] = [f"## {title(report)}", summary(report)]
    parts += [_quoted(note) for note in report.notes]
    if changes:
        parts.append(_table(changes[:MOST]))
    if len(changes) > MOST:
        parts.append(f"... and {len(changes) - MOST} more changes; `--json FILE` has them all.")
    if again := commands(changes, "reproduce"):
        parts.append("**Reproduce**\n\n" + _block(few(again, _COMMANDS), "sh"))
    if report.accept and not report.accepted:
        text = "**Accept**, if this is intended: run, and commit what it writes\n\n"
        parts.append(text + _block([report.accept], "sh"))
    if report.rows:
        rows = _block(few(report.rows, _ROWS), "csv")
        heading = f"Lines of the baseline ({len(report.rows)})"
        parts.append(f"<details><summary>{heading}</summary>\n\n{rows}\n\n</details>")
    return "\n\n".join(parts) + "\n"


def to_json(report: GateReport) -> str:
    """The whole report, with nothing left out."""
    verdict = {"code": int(report.exit), "name": report.exit.words}
    plain = asdict(report) | {"own": report.own.words, "exit": verdict}
    return json.dumps(plain, indent=1, allow_nan=False) + "\n"


def few(texts: Sequence[str], most: int) -> list[str]:
    """The first of many lines, and how many more there are."""
    more = [f"# and {len(texts) - most} more"] if len(texts) > most else []
    return [*texts[:most], *more]


def _gravity(change: Change) -> tuple[int, float]:
    """A whole cell, and a figure that was or is nothing, come before any ratio."""
    size = max(change.ratio, 1 / change.ratio) if change.ratio else math.inf
    return SEVERITY.index(change.verdict.exit), size


def _counted(report: GateReport) -> bool:
    return report.own is Exit.FINE


def _table(changes: Sequence[Change]) -> str:
    lines = [
        "| verdict | what | figure | before | now | change | certainty |",
        "|---|---|---|---:|---:|---:|---|",
    ]
    for each in changes:
        before, now = shown(each.before, each.unit), shown(each.after, each.unit)
        cells = (each.subject, each.quantity, before, now, difference(each), each.certainty)
        texts = " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells)
        lines.append(f"| **{each.verdict}** | {texts} |")
    return "\n".join(lines)


def _block(lines: Sequence[str], language: str) -> str:
    return "\n".join([f"```{language}", *lines, "```"])


def _quoted(note: str) -> str:
    return _block(note.splitlines(), "") if "\n" in note else note
