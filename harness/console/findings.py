"""The doctor's page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich import box
from rich.table import Table
from rich.text import Text

from harness.doctor import GRADES, Examination, Grade, worst

_STYLE: Final[dict[Grade, str]] = {"good": "green", "fair": "yellow", "bad": "red"}
_WORDS: Final[dict[Grade, str]] = {
    "good": "every kind of figure can be trusted here",
    "fair": "figures can be trusted with the cautions above",
    "bad": "some figures are worth nothing here: see what is bad above",
}


def page(findings: Sequence[Examination]) -> list[Table | Text]:
    """One row a finding with what to do about it, then a sentence on the whole."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("topic", no_wrap=True)
    table.add_column("verdict")
    table.add_column("found", overflow="fold")
    table.add_column("what to do", overflow="fold")
    for finding in findings:
        verdict = Text(finding.verdict, _STYLE[finding.verdict])
        table.add_row(finding.topic, verdict, Text(finding.found), Text(finding.advice))
    overall = worst(list(findings))
    counts = ", ".join(
        f"{sum(finding.verdict == verdict for finding in findings)} {verdict}" for verdict in GRADES
    )
    return [table, Text(f"{overall}: {_WORDS[overall]} ({counts})", _STYLE[overall])]
