"""What `ratebp-bench check` shows: one row a method."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from harness.run.checking import WRONG, CheckAnswer

_STYLES: Final = {WRONG: "red", "refused": "dim"}
_LEGEND: Final = (
    "exact: loss, output, gradients and buffers are those of a plain autograd loop. equal at T=1: "
    "so they are at one time step; over T steps the method approximates, as it says. approximate: "
    "it promises no equality, and what it promises holds. error: largest of what had to be equal. "
    "cosine: least of any parameter's gradient with that of BPTT."
)


def table(answers: Sequence[CheckAnswer]) -> list[RenderableType]:
    """The table with each refusal's words once, a count of outcomes, what the words mean."""
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("method", "outcome", "error", "cosine", "at", "reason"):
        shown.add_column(name, overflow="fold")
    first: dict[str, str] = {}
    for answer in answers:
        other = first.setdefault(answer.reason, answer.request.method) if answer.reason else ""
        again = answer.outcome == "refused" and other != answer.request.method
        reason = f"as {other}" if again else answer.reason
        error = "" if answer.error is None else f"{answer.error:.1e}"
        cosine = "" if answer.cosine is None else f"{answer.cosine:+.3f}"
        cells = (answer.request.method, answer.outcome, error, cosine, answer.leaf or "")
        style = _STYLES.get(answer.outcome)
        shown.add_row(*map(Text, (*cells, reason)), style=style)
    counts = Counter(answer.outcome for answer in answers)
    total = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    return [shown, Text(total), Text(_LEGEND, style="dim")]
