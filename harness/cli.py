"""The command line `ratebp-bench`: parse, call, print.

Exit codes: 0 done, 1 some trials failed, 2 the user can mend it, 130 interrupted.
"""

from __future__ import annotations

import sys
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from harness.errors import HarnessError

if TYPE_CHECKING:
    from rich.console import Console

    from harness.runner import Summary

app: Final = typer.Typer(
    help="Measure how efficiently spiking neural networks train.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
PLAIN_WIDTH: Final = 100
"""Columns of tables that do not go to a terminal."""


class Device(StrEnum):
    """Where trials compute."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Offer(StrEnum):
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
    device: Annotated[Device | None, typer.Option(help="Override the sweep's device.")] = None,
    repeats: Annotated[
        int | None, typer.Option(min=1, help="Override the sweep's repeats.")
    ] = None,
    report: Annotated[bool, typer.Option(help="Write the HTML report.")] = True,
) -> None:
    """Measure a sweep; what is measured already is kept."""
    from harness import crew, runner
    from harness.console import progress

    console = _console()
    listener = progress.make(console, crew.ALONE)
    request = runner.Request(sweep, results, jobs, device.value if device else None, repeats)
    try:
        summary = runner.run(request, listener)
    finally:
        listener.close()
    _conclude(summary, console)
    if report and summary.stopped is None:
        write_report(summary.folder)
    raise typer.Exit(summary.exit_code)


@app.command("report")
def write_report(
    folder: Annotated[Path, typer.Argument(help="Results of a sweep, e.g. results/runs/quick.")],
) -> None:
    """Write the HTML report of results that are there."""
    import harness.report

    _console().print(f"report: {harness.report.write(folder)}", markup=False, soft_wrap=True)


@app.command("list")
def list_offers(
    what: Annotated[Offer | None, typer.Argument(help="Everything if left out.")] = None,
) -> None:
    """Show the methods, models, data sets and surrogate gradients."""
    from harness import catalogue
    from harness.console import offers

    console, offered = _console(), catalogue.load()
    for kind in [what] if what else Offer:
        console.print(offers.KINDS[kind](offered))


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    if version:
        typer.echo(f"ratebp-bench {metadata.version('ratebp')}")
        raise typer.Exit


def main() -> None:
    """Entry point: errors that a user can mend become one message and exit code 2."""
    try:
        app()
    except HarnessError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)


def _console() -> Console:
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=PLAIN_WIDTH)


def _conclude(summary: Summary, console: Console) -> None:
    from rich.text import Text

    from harness.console import tables

    for part in tables.conclusion(summary):
        console.print(part, soft_wrap=isinstance(part, Text))


if __name__ == "__main__":
    main()
