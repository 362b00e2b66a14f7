"""Commands that judge changes: gate, trend, export."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.app import app, terminal


@app.command("gate")
def check_gate(
    exact: Annotated[bool, typer.Option("--exact", help="Compare with recorded figures.")] = False,
    time: Annotated[
        str | None, typer.Option("--time", metavar="BASE", help="Compare times with this commit.")
    ] = None,
    head: Annotated[str | None, typer.Option(help="Time: default, the working tree.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Time: equal code too.")] = False,
    family: Annotated[list[str] | None, typer.Option(help="Time: default all.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="Exact: default all.")] = None,
    update: Annotated[bool, typer.Option("--update", help="Exact: record the figures.")] = False,
    sweep: Annotated[str | None, typer.Option(help="Cells; default: the tier's own.")] = None,
    baselines: Annotated[Path, typer.Option(help="Exact: recorded figures.")] = Path(
        "results/baselines/exact"
    ),
    markdown: Annotated[Path | None, typer.Option(help="Write for a pull request.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write for other programs.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write as a page.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Exact: cells side by side.")] = None,
) -> None:
    """Fail on a regression of memory or time and on nothing else; see docs/ci.md.

    Exit codes: 0 fine, 1 regression, 2 harness error, 3 rebaseline needed, 4 inconclusive.
    """
    from harness.console import gates
    from harness.gate import exact as exact_tier
    from harness.gate import time as time_tier
    from harness.gate.files import Files

    if exact == (time is not None):
        raise typer.BadParameter("give --exact, or --time BASE")
    files = Files(markdown, json, html)
    if time is not None:
        cells = sweep or time_tier.SWEEP
        timed = time_tier.TimeRequest(time, head, everything, tuple(family or ()), cells)
        raise typer.Exit(gates.time(timed, terminal(), files))
    cells = sweep or exact_tier.SWEEP
    request = exact_tier.ExactRequest(cells, baselines, tuple(method or ()), update)
    raise typer.Exit(gates.exact(request, terminal(), files, jobs))


class Service(StrEnum):
    """Services that keep figures over time."""

    GITHUB = "github-action-benchmark"
    BENCHER = "bencher"


@app.command("trend")
def show_trend(
    add: Annotated[Path | None, typer.Option(help="Keep this sweep's results first.")] = None,
    history: Annotated[Path, typer.Option(help="One file a run.")] = Path("results/history"),
    html: Annotated[Path | None, typer.Option(help="Write as a page.")] = None,
) -> None:
    """Find the steps in the history, and the commits between them."""
    from harness.console import trends
    from harness.results import published, store
    from harness.trend import history as kept
    from harness.trend import moves

    console = terminal()
    if add is not None:
        for path in kept.keep(published.load(add), history):
            console.print(f"kept: {path}", markup=False, soft_wrap=True)
    series = kept.read(history)
    moved = moves.find(series)
    for part in trends.page(series, moved):
        console.print(part)
    if html is not None:
        from harness.trend import page

        store.write_text(html, page.render(series, moved))
        console.print(f"page: {html}", markup=False, soft_wrap=True)


@app.command("export")
def export(
    folder: Annotated[Path, typer.Argument(help="Results of a sweep.")],
    service: Annotated[Service, typer.Option("--format", help="Whose format.")] = Service.GITHUB,
) -> None:
    """Print a sweep's headline figures for another service."""
    from harness.results import published
    from harness.trend import exports, figures

    typer.echo(exports.write(figures.summarise(published.load(folder)), service.value), nl=False)
