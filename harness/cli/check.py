"""The command that checks methods on the user's own network."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.app import app, terminal

if TYPE_CHECKING:
    from rich.console import Console

    from harness.run.checking import CheckAnswer, CheckRequest
    from harness.spec import Choice


@app.command("check")
def check_methods(
    model: Annotated[str, typer.Argument(help="file.py:Name, or a model of `list models`.")],
    method: Annotated[
        list[str] | None, typer.Option(help="Once for each method. Default: all.")
    ] = None,
    T: Annotated[int, typer.Option("--T", min=1, help="Time steps.")] = 4,
    batch: Annotated[int, typer.Option(min=1, help="Samples; norms need more than one.")] = 2,
    input: Annotated[str, typer.Option(help="Size of one sample at one step.")] = "3x32x32",
    classes: Annotated[int, typer.Option(min=1, help="Offered to the model.")] = 10,
    option: Annotated[
        list[str] | None, typer.Option(help="Of the model: width=64, once for each.")
    ] = None,
    costs: Annotated[
        bool, typer.Option(help="Count bytes and FLOPs at T=1, 2, 4, 8, and what is kept.")
    ] = True,
    cost_batch: Annotated[int, typer.Option(min=1, help="Samples that are counted.")] = 32,
) -> None:
    """Say which methods train a network, what each costs, and what exact training keeps.

    One step of each is compared with a plain autograd loop, in float64.

    Exit codes: 0 every method is right or refuses the network, 1 one is wrong, 2 it cannot be said,
    3 every method refuses it.
    """
    from harness.run import checking
    from harness.sweep import catalogue, expand

    sizes, given = checking.shape(input), checking.options(option or [])
    offered = catalogue.load()
    names = method or list(offered.methods)
    zoo = model.startswith("zoo:")
    chosen = None if zoo else expand.one_model(model, given, offered, Path())
    asked_for = model if chosen is None else chosen.name
    requests = [
        checking.CheckRequest(asked_for, name, T, batch, sizes, classes, given) for name in names
    ]
    console = terminal()
    sizes_of = f"T={T}, batch {batch}, inputs of {input}"
    many = f"{len(names)} method{'' if len(names) == 1 else 's'}"
    console.print(f"{many} on {model}: {sizes_of}", markup=False, highlight=False)
    answers = _asked(console, requests)
    trained = [each.request.method for each in answers if each.outcome not in checking.NO_COSTS]
    if costs and chosen is not None and trained:
        _tell_costs(console, chosen, trained, requests[0], cost_batch)
    raise typer.Exit(checking.exit_code(answers))


def _asked(console: Console, requests: list[CheckRequest]) -> list[CheckAnswer]:
    """Ask one method after the other, and print what each has answered."""
    from harness.console import checks
    from harness.run import checking

    answers = []
    with closing(checking.ask(requests)) as asked, console.status("starting") as status:
        for count, each in enumerate(requests, start=1):
            status.update(f"checking {each.method} ({count} of {len(requests)})")
            answers.append(next(asked))
    for part in checks.table(answers):
        console.print(part)
    return answers


def _tell_costs(
    console: Console, model: Choice, methods: list[str], request: CheckRequest, batch: int
) -> None:
    """Print what the methods cost, and what exact training keeps."""
    from harness.console import checks
    from harness.planning.client import Planner
    from harness.planning.costs import costs
    from harness.run import checking

    sizes, classes, folder = request.input, request.classes, str(Path.cwd())
    with Planner() as planner, console.status("counting") as status:
        tell = lambda done, total: status.update(f"counting: {done} of {total}")  # noqa: E731
        found = costs(model, methods, sizes, classes, batch, folder, planner, tell)
        kept = checking.keeping(request)
    for part in (*checks.costs(found, batch), *checks.kept(kept)):
        console.print(part)
