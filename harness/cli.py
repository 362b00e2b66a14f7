"""The command line `ratebp-bench`: parse, call, print.

Exit codes: 0 done, 1 some trials failed, 2 the user can mend it, 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from harness.errors import HarnessError

if TYPE_CHECKING:
    from rich.console import Console

    from harness.planning.client import Prediction
    from harness.runner import Summary
    from harness.spec import Cell

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
    console = _console()
    notes = [f"note: {text}" for text in report.notices]
    shown = [f"picture: {path}" for path in report.pictures]
    for line in (*notes, *shown, f"report: {report.path}"):
        console.print(line, markup=False, soft_wrap=True)


@app.command("gate")
def check_gate(
    exact: Annotated[bool, typer.Option("--exact", help="Compare with recorded figures.")] = False,
    method: Annotated[list[str] | None, typer.Option(help="Exact: default all.")] = None,
    update: Annotated[bool, typer.Option("--update", help="Exact: record the figures.")] = False,
    sweep: Annotated[str | None, typer.Option(help="Cells; default: the tier's own.")] = None,
    baselines: Annotated[Path, typer.Option(help="Exact: recorded figures.")] = Path(
        "results/baselines/exact"
    ),
    markdown: Annotated[Path | None, typer.Option(help="Write for a pull request.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write for other programs.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Exact: cells side by side.")] = None,
) -> None:
    """Fail on a regression of memory or time and on nothing else; see docs/ci.md.

    Exit codes: 0 fine, 1 regression, 2 harness error, 3 rebaseline needed, 4 inconclusive.
    """
    from harness.console import gates
    from harness.gate.exact import SWEEP, Request
    from harness.gate.output import Files

    if not exact:
        raise typer.BadParameter("give --exact, or --time BASE")
    request = Request(sweep or SWEEP, baselines, tuple(method or ()), update)
    code = gates.exact(request, _console(), Files(markdown, json), jobs)
    raise typer.Exit(code)


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
    from harness.executors.local import LocalExecutor

    console = _console()
    found = list(doctor.at_rest(results))
    if processes:
        with console.status("equal trials") as status:
            tell = lambda done, total: status.update(f"equal trials: {done} of {total}")  # noqa: E731
            found += doctor.under_load(LocalExecutor(), processes, tell)
    for part in findings.page(found):
        console.print(part)
    raise typer.Exit(1 if doctor.worst(found) == "bad" else 0)


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


@app.command("plan")
def plan_sweep(
    sweep: Annotated[str, typer.Argument(help="TOML file, or a name in benchmarks/sweeps.")],
    csv: Annotated[Path | None, typer.Option(help="Write every figure to this file.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Cells counted side by side.")] = None,
) -> None:
    """Predict the exact figures of a sweep: no GPU, no data files, no training."""
    from harness.console import plans
    from harness.planning import plan
    from harness.planning.client import Planner

    console = _console()
    with plans.PlanProgress(console) as listener, Planner(jobs) as planner:
        planned = plan.plan(sweep, planner, listener)
    if csv is not None:
        plan.write_csv(planned, csv)
    for part in plans.plan(planned):
        console.print(part)
    raise typer.Exit(plan.exit_code(planned))


@app.command("frontier")
def find_frontier(
    sweep: Annotated[str | None, typer.Argument(help="As for `run`; or give options.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="Default: all.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="Default: resnet18.")] = None,
    data: Annotated[list[str] | None, typer.Option(help="Default: 3x32x32, 10 labels.")] = None,
    batch: Annotated[list[int] | None, typer.Option(min=1, help="For T; default 128.")] = None,
    T: Annotated[
        list[int] | None, typer.Option("--T", min=1, help="For the batch; default 4.")
    ] = None,
    dtype: Annotated[list[str] | None, typer.Option(help="Default: float32.")] = None,
    card: Annotated[list[str] | None, typer.Option(help="Size in GB; default: all.")] = None,
    counted_to: Annotated[int, typer.Option(min=1, help="Count T exactly up to this.")] = 32,
    out: Annotated[Path | None, typer.Option(help="Write .json or .csv as well.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Lines searched side by side.")] = None,
) -> None:
    """Find the largest T and the largest batch that fit graphics cards."""
    from harness.console import plans
    from harness.planning import commands
    from harness.planning.client import Planner

    axes = {"method": method, "model": model, "data": data, "batch": batch, "T": T, "dtype": dtype}
    request = commands.Request(
        sweep, {name: values for name, values in axes.items() if values}, card or (), counted_to
    )
    console = _console()
    with plans.SearchProgress(console) as listener, Planner(jobs) as planner:
        found = commands.frontier(request, planner, listener)
    if out is not None:
        commands.write(found, out)
    for part in plans.frontier(found):
        console.print(part)


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    if version:
        typer.echo(f"ratebp-bench {metadata.version('ratebp')}")
        raise typer.Exit


def _predict(cells: Sequence[Cell]) -> Iterator[tuple[Cell, Prediction]]:
    from harness.planning.client import Planner

    with Planner() as planner:
        yield from planner.predict(cells)


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
