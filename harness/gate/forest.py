"""The interval plot of the time tier: each family's change with its interval, against the margin.

Drawn as SVG with the page's own colours, so that it needs no script and follows the theme.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from harness.gate.verdict import GateReport, Span, Verdict
from harness.report.markup import escape

WIDTH: Final = 860
_LEFT, _RIGHT = 130, 300
_TOP, _ROW, _FOOT = 34, 38, 44
_TICKS: Final = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
_FEW: Final = 3
_NAME: Final = 16

_SHAPES: Final = {
    Verdict.SLOWER: "M-5 -7L8 0L-5 7z",
    Verdict.FASTER: "M5 -7L-8 0L5 7z",
    Verdict.EQUAL: "M0 -6a6 6 0 1 0 .01 0z",
    Verdict.INCONCLUSIVE: "M0 -6.5L6.5 0L0 6.5L-6.5 0z",
    Verdict.VOID: "M-6 -4L-4 -6L0 -2L4 -6L6 -4L2 0L6 4L4 6L0 2L-4 6L-6 4L-2 0z",
}
"""A marker of its own for every verdict: nothing is told by colour alone."""


def svg(report: GateReport) -> str:
    """The plot; empty if the tier made no claim about time."""
    if not report.spans or report.margin is None:
        return ""
    reach = _reach(report.spans, report.margin)
    height = _TOP + _ROW * len(report.spans) + _FOOT
    rows = (_row(span, number, reach) for number, span in enumerate(report.spans))
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Interval plot">'
        f'<svg class="forest" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(sentence(report))}">'
        f"{_ground(report.margin, reach, height)}{''.join(rows)}</svg></div>"
    )


def sentence(report: GateReport) -> str:
    """The plot in words."""
    claims = [f"{span.name} {_change(span)}, {span.verdict}" for span in report.spans]
    return (
        f"Change of time from base to head with its 95 % interval: {'; '.join(claims)}. "
        f"A change counts when its whole interval is beyond {_percent(report.margin or 1.0)}."
    )


def _change(span: Span) -> str:
    low, high = (_bound(bound) for bound in (span.low, span.high))
    return f"{_percent(span.ratio)} [{low} to {high}]"


def _bound(bound: float | None) -> str:
    return "unbounded" if bound is None else _percent(bound)


def _percent(ratio: float) -> str:
    return f"{ratio - 1:+.1%}"


def _reach(spans: Sequence[Span], margin: float) -> float:
    """The largest log ratio that the axis shows, on both sides."""
    ratios = [margin, *(x for s in spans for x in (s.ratio, s.low, s.high) if x is not None)]
    ratios += [shift for span in spans for _, shift in span.cells]
    return 1.12 * max(abs(math.log(ratio)) for ratio in ratios)


def _x(ratio: float, reach: float) -> float:
    middle, half = (_LEFT + WIDTH - _RIGHT) / 2, (WIDTH - _RIGHT - _LEFT) / 2
    return round(middle + half * max(-1.0, min(1.0, math.log(ratio) / reach)), 1)


def _ground(margin: float, reach: float, height: int) -> str:
    """The band of the margin, the line of no change, and the axis."""
    low, high, bottom = _x(1 / margin, reach), _x(margin, reach), height - _FOOT
    parts = [
        f'<rect class="band" x="{low}" y="{_TOP - 14}" width="{high - low:.1f}" '
        f'height="{bottom - _TOP + 14}"/>',
        f'<text class="muted" x="{_x(1.0, reach)}" y="14" text-anchor="middle">'
        f"margin ± {margin - 1:.1%}</text>",
    ]
    limit = math.expm1(reach)
    step = max([tick for tick in _TICKS if limit / tick >= _FEW] or [_TICKS[-1]])
    count = int(limit / step)
    for tick in (step * number for number in range(-count, count + 1)):
        if tick <= -1 or abs(math.log1p(tick)) > reach:
            continue
        x, name = _x(1 + tick, reach), "zero" if not tick else "tick"
        parts.append(f'<line class="{name}" x1="{x}" x2="{x}" y1="{_TOP - 14}" y2="{bottom}"/>')
        parts.append(
            f'<text class="muted" x="{x}" y="{bottom + 16}" text-anchor="middle">{tick:+.0%}</text>'
            if tick
            else f'<text x="{x}" y="{bottom + 16}" text-anchor="middle">no change</text>'
        )
    middle = _x(1.0, reach)
    title = "change of ratio.step, head over base"
    parts.append(
        f'<text class="muted" x="{middle}" y="{bottom + 36}" text-anchor="middle">{title}</text>'
    )
    return "".join(parts)


def _row(span: Span, number: int, reach: float) -> str:
    y = _TOP + _ROW * number + _ROW // 2
    low, high = (
        _x(bound if bound is not None else math.exp(side * reach), reach)
        for bound, side in ((span.low, -1), (span.high, 1))
    )
    ends = "".join(
        f'<path d="M{x} {y - 5}v10"/>'
        for x, bound in ((low, span.low), (high, span.high))
        if bound is not None
    )
    cells = "".join(
        f'<circle class="cell" cx="{_x(shift, reach)}" cy="{y + 11}" r="2.5">'
        f"<title>{escape(label)} {_percent(shift)} (no claim)</title></circle>"
        for label, shift in span.cells
    )
    kind = str(span.verdict).lower()
    name = span.name if len(span.name) <= _NAME else f"{span.name[: _NAME - 1]}…"
    return (
        f'<g class="span {kind}"><text x="{_LEFT - 12}" y="{y + 4}" text-anchor="end">'
        f"{escape(name)}</text>"
        f'<path d="M{low} {y}H{high}"/>{ends}{cells}'
        f'<path class="mark" transform="translate({_x(span.ratio, reach)} {y})" '
        f'd="{_SHAPES[span.verdict]}"/>'
        f'<text x="{WIDTH - _RIGHT + 16}" y="{y + 4}"><tspan class="word">{span.verdict}</tspan> '
        f"{escape(_change(span))}</text></g>"
    )
