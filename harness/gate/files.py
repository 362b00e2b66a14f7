"""The files that a gate writes beside what it shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.gate import output
from harness.gate.verdict import GateReport
from harness.results.store import write_text


@dataclass(frozen=True)
class Files:
    """Where to write the report as well; None for not at all."""

    markdown: Path | None = None
    json: Path | None = None
    html: Path | None = None


def write(report: GateReport, files: Files) -> None:
    """Write the files that are asked for.

    Raises:
        StoreError: if the disk refuses.
    """
    if files.markdown is not None:
        write_text(files.markdown, output.markdown(report))
    if files.json is not None:
        write_text(files.json, output.to_json(report))
    if files.html is not None:
        from harness.gate import page  # loads the report's styles, which most runs do not need

        write_text(files.html, page.render(report))
