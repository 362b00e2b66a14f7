"""What `ratebp-bench check` shows: one row a method."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from harness.console.progress import headline
from harness.outcome import Outcome
from harness.planning.costs import STEPS, Costs
from harness.run.checking import WRONG, CheckAnswer, KeepingAnswer

_FIGURES: Final[tuple[tuple[str, Callable[[Outcome], int]], ...]] = (
    ("peak, bytes", lambda p: p.figure("mem.live_peak")),
    ("kept, bytes", lambda p: p.figure("mem.live_after_forward", "forward")),
    ("FLOPs", lambda p: p.figure("ops.flops")),
)
_COSTS: Final = (
    "Exact, of one training step with torch's operators. peak: most bytes of tensors alive at once "
    "above parameters, gradients, optimiser state and inputs. kept: between forward and backward."
)
_KEPT: Final = (
    "Where leaves share, a synapse keeps 0.125 (spikes) or 1 (sums of them) a value of its input, "
    "a batch norm 4 a value, a LIF nothing."
)
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


def costs(found: Costs, batch: int) -> list[RenderableType]:
    """A table for each figure with one row a method, and why some could not be counted."""
    failed: dict[str, list[str]] = {}
    for method, by_steps in found.items():
        for told in by_steps.values():
            if told.status != "ok":
                failed.setdefault(headline(told.error or told.status), []).append(method)
    notes = [Text(f"{', '.join(dict.fromkeys(who))}: {why}") for why, who in failed.items()]
    tables = [_costs(found, f"{what} of a step, batch {batch}", of) for what, of in _FIGURES]
    return [*tables, *notes, Text(_COSTS, style="dim")]


def _costs(found: Costs, title: str, figure: Callable[[Outcome], int]) -> Table:
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left")
    shown.add_column("method")
    for T in STEPS:
        shown.add_column(f"T={T}", justify="right")
    for method, by_steps in found.items():
        told = (by_steps[T] for T in STEPS)
        cells = (f"{figure(each):,}" if each.status == "ok" else "-" for each in told)
        shown.add_row(*map(Text, (method, *cells)))
    return shown


def kept(found: KeepingAnswer) -> list[RenderableType]:
    """What exact training keeps: the leaves that keep what they need not, and why."""
    if found.reason:
        return [Text(f"what bptt_m keeps cannot be told: {found.reason}")]
    needless = [leaf for leaf in found.leaves if leaf["needless"]]
    total = sum(leaf["nbytes"] for leaf in found.leaves)
    head = f"bptt_m keeps {found.per_neuron:.1f} bytes a neuron and time step"
    if not needless:
        return [Text(f"{head}; every leaf keeps as little as it can"), Text(_KEPT, style="dim")]
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("leaf", "bytes\na value", "share", "what keeps it from less"):
        shown.add_column(name, overflow="fold")
    for leaf in needless:
        each = f"{leaf['per_value']:.2g}" if leaf["per_value"] else ""
        named = f"{leaf['path']} {leaf['kind']}".strip()
        shown.add_row(*map(Text, (named, each, f"{leaf['nbytes'] / total:.0%}", leaf["why"])))
    return [Text(f"{head}; these leaves more than they need:"), shown, Text(_KEPT, style="dim")]
