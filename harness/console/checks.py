"""What `ratebp-bench check` shows: one row a method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from harness.checking import WRONG, Answer

_STYLES: Final = {WRONG: "red", "refused": "dim"}
_LEGEND: Final = (
    "exact: loss, output, gradients and buffers are those of a plain autograd loop. equal at T=1: "
    "so they are at one time step; over T steps the method approximates, as it says. approximate: "
    "it promises no equality, and what it promises holds. error: largest of what had to be equal. "
    "cosine: least of any parameter's gradient with that of BPTT"
)


def table(answers: Sequence[Answer]) -> list[RenderableType]:
    """The table, and what its words mean."""
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("method", "outcome", "error", "cosine", "at", "reason"):
        shown.add_column(name, overflow="fold")
    for answer in answers:
        error = "" if answer.error is None else f"{answer.error:.1e}"
        cosine = "" if answer.cosine is None else f"{answer.cosine:+.3f}"
        cells = (answer.request.method, answer.outcome, error, cosine, answer.leaf or "")
        style = _STYLES.get(answer.outcome)
        shown.add_row(*map(Text, (*cells, answer.reason)), style=style)
    return [shown, Text(_LEGEND, style="dim")]
