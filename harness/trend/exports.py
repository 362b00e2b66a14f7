"""Figures in the formats of other services, for teams that have one already.

github-action-benchmark (`tool: customSmallerIsBetter`): a list of `{name, unit, value, range,
extra}`. Bencher (`--adapter json`): `{benchmark: {measure: {value, lower_value, upper_value}}}`.
Of every figure exported less is better.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from harness.trend.figures import Figure


def github_action_benchmark(figures: Sequence[Figure]) -> list[dict[str, Any]]:
    """For `benchmark-action/github-action-benchmark`, tool `customSmallerIsBetter`."""
    return [
        {
            "name": f"{figure.cell} / {figure.metric}",
            "unit": figure.unit,
            "value": _plain(figure.value),
            "range": _range(figure),
            "extra": (
                f"{figure.kind}, {figure.processes} processes, environment {figure.environment}, "
                f"measurement {figure.measurement}"
            ),
        }
        for figure in figures
    ]


def bencher(figures: Sequence[Figure]) -> dict[str, dict[str, dict[str, float]]]:
    """For `bencher run --adapter json`; a measure is named by metric and unit."""
    document: dict[str, dict[str, dict[str, float]]] = {}
    for figure in figures:
        document.setdefault(figure.cell, {})[f"{figure.metric} ({figure.unit})"] = {
            "value": _plain(figure.value),
            "lower_value": _plain(figure.low),
            "upper_value": _plain(figure.high),
        }
    return document


FORMATS: Final[Mapping[str, Callable[[Sequence[Figure]], Any]]] = {
    "github-action-benchmark": github_action_benchmark,
    "bencher": bencher,
}


def write(figures: Sequence[Figure], format: str) -> str:
    """The JSON document of one of `FORMATS`."""
    return json.dumps(FORMATS[format](figures), indent=1, allow_nan=False) + "\n"


def _plain(value: float) -> float:
    """Whole numbers without a point: bytes stay bytes."""
    return int(value) if value == int(value) else value


def _range(figure: Figure) -> str:
    if figure.low == figure.high:
        return "exact" if figure.kind == "exact" else "one process"
    return f"{figure.low:.6g} to {figure.high:.6g}"
