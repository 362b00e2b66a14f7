"""The main figures as PNG and SVG, for papers: light theme, with legends.

Plotly's exporter (kaleido, an optional extra) draws them in a Chrome that the machine has.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from harness.errors import ReportError
from harness.report.panels import Sheet
from harness.report.parts import Panel

EXPORTER: Final = "kaleido"
FORMATS: Final = ("png", "svg")
MAIN: Final = ("memory", "time", "phases", "growth", "accuracy", "frontier", "change")
FOLDER: Final = "figures"
SIZE: Final = {"width": 720, "height": 480}
SCALE: Final = 2.0
"""Pixels of a PNG for each pixel of the layout."""


def write(folder: Path, sheets: Sequence[Sheet], formats: Sequence[str]) -> tuple[Path, ...]:
    """Write the first view of each main figure into `folder/figures`, a file a format.

    Raises:
        ReportError: if kaleido is not installed, finds no Chrome, or fails.
    """
    if not formats:
        return ()
    if importlib.util.find_spec(EXPORTER) is None:
        raise ReportError(
            "pictures need Plotly's exporter: install it with `pip install 'ratebp[pictures]'`; "
            "it draws in a Chrome or Chromium that must be there as well"
        )
    target = folder / FOLDER
    target.mkdir(parents=True, exist_ok=True)
    jobs = [
        (figure(panel), target / f"{_prefix(number, sheets)}{panel.key}.{kind}")
        for number, sheet in enumerate(sheets)
        for panel in sheet.panels
        if panel.key in MAIN
        for kind in formats
    ]
    _draw(jobs)
    return tuple(path for _, path in jobs)


def figure(panel: Panel) -> Any:
    """What a panel shows when the page opens, without its fitted laws, checked by Plotly."""
    import plotly.graph_objects as go

    first = next(iter(panel.variants.values())).figure
    traces = [trace for trace in first["data"] if not trace.get("uid", "").startswith("law:")]
    size = SIZE | {"height": max(SIZE["height"], first["layout"]["height"])}
    return go.Figure({"data": traces, "layout": first["layout"] | size})


def _draw(jobs: Sequence[tuple[Any, Path]]) -> None:
    import plotly.io

    try:
        for drawn, path in jobs:
            plotly.io.write_image(drawn, path, format=path.suffix[1:], scale=SCALE)
    except Exception as error:  # kaleido and the browser's driver raise whatever they like
        raise ReportError(
            f"the pictures could not be drawn: {type(error).__name__}: {str(error)[:300]}; kaleido "
            "needs a Chrome or Chromium on PATH (or its path in BROWSER_PATH)"
        ) from error


def _prefix(number: int, sheets: Sequence[Sheet]) -> str:
    return f"{number + 1}-" if len(sheets) > 1 else ""
