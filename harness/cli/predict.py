"""Commands that predict without measuring: plan, frontier."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.app import app, terminal


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

    console = terminal()
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
    request = commands.FrontierRequest(
        sweep, {name: values for name, values in axes.items() if values}, card or (), counted_to
    )
    console = terminal()
    with plans.SearchProgress(console) as listener, Planner(jobs) as planner:
        found = commands.frontier(request, planner, listener)
    if out is not None:
        commands.write(found, out)
    for part in plans.frontier(found):
        console.print(part)
