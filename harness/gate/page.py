"""What a gate found, as one offline page: verdicts, how certain, how to repeat and accept them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from harness.gate import forest
from harness.gate.output import commands, difference, few, ordered, shown, summary, title
from harness.gate.verdict import Change, Exit, GateReport
from harness.report import shell
from harness.report.markup import block, escape, still_table

HEADS: Final = {
    "verdict": "text", "what": "text", "figure": "text", "before": "number", "now": "number",
    "change": "number", "certainty": "text",
}  # fmt: skip
MOST: Final = 2000
"""Changes that the table shows: a browser lays out more only slowly."""

_ALARMS: Final = (Exit.REGRESSION, Exit.HARNESS_ERROR)


def render(report: GateReport) -> str:
    """The whole document; it has no script and asks for nothing."""
    changes = ordered(report.changes)
    parts = [
        _plot(report),
        shell.card("What changed", _table(changes)) if changes else "",
        shell.card("Reproduce", _block(commands(changes, "reproduce"))),
        shell.card("Accept, if this is intended", _accept(report)),
        shell.card(f"Lines of the baseline ({len(report.rows)})", _block(report.rows)),
    ]
    return shell.plain(title(report), _header(report), "".join(parts))


def _header(report: GateReport) -> str:
    word = report.exit.words.replace(" ", "-")
    code = f"(exit code {report.exit:d})"
    notes = "".join(f"<li>{_note(note)}</li>" for note in report.notes)
    return shell.header(
        f"{report.tier.capitalize()} gate",
        summary(report),
        shell.chips("Verdict", [(word, report.exit.words, code)]),
        f'<ul aria-label="Notes">{notes}</ul>' if notes else "",
    )


def _note(note: str) -> str:
    return block([note]) if "\n" in note else escape(note)


def _plot(report: GateReport) -> str:
    drawn = forest.svg(report)
    words = (
        '<p class="note">Bars: 95 % interval of a family over pairs of processes. Small dots: its '
        "cells, which carry no claim. The placebo is the base against itself.</p>"
    )
    text = f'<p class="sentence">{escape(forest.sentence(report))}</p>'
    return shell.card("Time against the margin", words + drawn + text) if drawn else ""


def _table(changes: Sequence[Change]) -> str:
    more = len(changes) - MOST
    rest = f"<p>... and {more} more changes; the JSON file has them all.</p>" if more > 0 else ""
    return still_table("What changed", HEADS, map(_row, changes[:MOST])) + rest


def _row(change: Change) -> str:
    alarm = " alarm" if change.verdict.exit in _ALARMS else ""
    before, now = (shown(value, change.unit) for value in (change.before, change.after))
    cells = [("text", change.quantity), ("number", before), ("number", now)]
    cells += [("number", difference(change)), ("text", change.certainty)]
    body = "".join(f'<td class="{kind}">{escape(text)}</td>' for kind, text in cells)
    return (
        f'<tr><td class="verdict{alarm}">{change.verdict}</td>'
        f'<th scope="row">{escape(change.subject)}</th>{body}</tr>'
    )


def _accept(report: GateReport) -> str:
    if report.accepted or not report.accept:
        return ""
    return f"<p>Run this, and commit what it writes.</p>{_block([report.accept])}"


def _block(lines: Sequence[str]) -> str:
    return block(few(lines, MOST))
