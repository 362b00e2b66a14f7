"""Commands that measure and show: run, report, list, doctor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.app import app, terminal

if TYPE_CHECKING:
    from rich.console import Console

    from harness.outcome import Outcome
    from harness.run.runner import Summary
    from harness.spec import Cell


class DeviceOption(StrEnum):
    """Where trials compute."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Listing(StrEnum):
    """What `list` can show."""

    METHODS = "methods"
    MODELS = "models"
    DATA = "data"
    SURROGATES = "surrogates"


@app.command("run")
def run_sweep(
    sweep: Annotated[str, typer.Argument(help="TOML file, or a name in benchmarks/sweeps.")],
    results: Annotated[Path, typer.Option(help="Folder for results.")] = Path("results"),
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Trials side by side (timings run alone).")
    ] = None,
    device: Annotated[
        DeviceOption | None, typer.Option(help="Override the sweep's device.")
    ] = None,
    repeats: Annotated[
        int | None, typer.Option(min=1, help="Override the sweep's repeats.")
    ] = None,
    report: Annotated[bool, typer.Option(help="Write the HTML report.")] = True,
) -> None:
    """Measure a sweep; what is measured already is kept."""
    from harness.console import progress
    from harness.run import runner, scheduler

    console = terminal()
    listener = progress.make(console, scheduler.ALONE)
    request = runner.RunRequest(sweep, results, jobs, device.value if device else None, repeats)
    try:
        summary = runner.run(request, listener, predict=_predict)
    finally:
        listener.close()
    _conclude(summary, console)
    if report and summary.stopped is None:
        write_report(summary.folder)
    raise typer.Exit(summary.exit_code)


@app.command("report")
def write_report(
    folder: Annotated[
        Path | None, typer.Argument(help="Results of a sweep, e.g. results/runs/quick.")
    ] = None,
    mix: Annotated[
        bool, typer.Option("--mix", help="Show what does not belong together all the same.")
    ] = False,
    compare: Annotated[
        tuple[Path, Path] | None, typer.Option(help="Two runs side by side: what changed.")
    ] = None,
    png: Annotated[bool, typer.Option("--png", help="Main figures as PNG too.")] = False,
    svg: Annotated[bool, typer.Option("--svg", help="Main figures as SVG too.")] = False,
) -> None:
    """Write the HTML report of results that are there."""
    import harness.report

    pictures = [kind for kind, wanted in (("png", png), ("svg", svg)) if wanted]
    if (folder is None) == (compare is None):
        raise typer.BadParameter("give one results folder, or --compare RUN_A RUN_B")
    if folder is not None:
        report = harness.report.write(folder, mix=mix, pictures=pictures)
    elif pictures or compare is None:
        raise typer.BadParameter("--png and --svg go with one results folder, not with --compare")
    else:
        report = harness.report.compare(*compare, mix=mix)
    console = terminal()
    notes = [f"note: {text}" for text in report.notices]
    shown = [f"picture: {path}" for path in report.pictures]
    for line in (*notes, *shown, f"report: {report.path}"):
        console.print(line, markup=False, soft_wrap=True)


@app.command("list")
def list_offers(
    what: Annotated[Listing | None, typer.Argument(help="Everything if left out.")] = None,
) -> None:
    """Show the methods, models, data sets and surrogate gradients."""
    from harness.console import offers
    from harness.sweep import catalogue

    console, offered = terminal(), catalogue.load()
    for kind in [what] if what else Listing:
        console.print(offers.KINDS[kind](offered))


@app.command("doctor")
def examine(
    results: Annotated[Path, typer.Option(help="Where results would go.")] = Path("results"),
    processes: Annotated[
        int, typer.Option(min=0, help="Equal time trials, in fours; 0 runs no trial at all.")
    ] = 12,
) -> None:
    """Say whether this machine's figures can be trusted, and what to do where they cannot."""
    from harness import doctor
    from harness.console import findings
    from harness.run.executors.local import LocalExecutor

    console = terminal()
    found = list(doctor.at_rest(results))
    if processes:
        with console.status("equal trials") as status:
            tell = lambda done, total: status.update(f"equal trials: {done} of {total}")  # noqa: E731
            found += doctor.under_load(LocalExecutor(), processes, tell)
    for part in findings.page(found):
        console.print(part)
    raise typer.Exit(1 if doctor.worst(found) == "bad" else 0)


def _predict(cells: Sequence[Cell]) -> Iterator[tuple[Cell, Outcome]]:
    from harness.planning.client import Planner

    with Planner() as planner:
        yield from planner.predict(cells)


def _conclude(summary: Summary, console: Console) -> None:
    from rich.text import Text

    from harness.console import tables

    for part in tables.conclusion(summary):
        console.print(part, soft_wrap=isinstance(part, Text))
