"""The command that checks methods on the user's own network."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from harness.cli.app import app, terminal


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
) -> None:
    """Compare one step of each method on a network with a plain autograd loop, in float64.

    Exit codes: 0 every method is right or refuses the network, 1 one is wrong, 2 it cannot be said.
    A network that all methods refuse ends with 0, too.
    """
    from harness.console import checks
    from harness.run import checking
    from harness.sweep import catalogue

    sizes = checking.shape(input)
    names = method or list(catalogue.load().methods)
    requests = [checking.CheckRequest(model, name, T, batch, sizes, classes) for name in names]
    console = terminal()
    sizes_of = f"T={T}, batch {batch}, inputs of {input}"
    many = f"{len(names)} method{'' if len(names) == 1 else 's'}"
    console.print(f"{many} on {model}: {sizes_of}", markup=False, highlight=False)
    answers = []
    with closing(checking.ask(requests)) as asked, console.status("starting") as status:
        for count, name in enumerate(names, start=1):
            status.update(f"checking {name} ({count} of {len(names)})")
            answers.append(next(asked))
    for part in checks.table(answers):
        console.print(part)
    raise typer.Exit(checking.exit_code(answers))
