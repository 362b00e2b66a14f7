"""What the commands share: the application, and the console that they print on."""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from rich.console import Console

app: Final = typer.Typer(
    help="Measure how efficiently spiking neural networks train.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
PLAIN_WIDTH: Final = 100
"""Columns of tables that do not go to a terminal."""


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    if version:
        typer.echo(f"ratebp-bench {metadata.version('ratebp')}")
        raise typer.Exit


def terminal() -> Console:
    """The terminal, or plain text of a fixed width."""
    from rich.console import Console

    seen = Console()
    return seen if seen.is_terminal else Console(width=PLAIN_WIDTH)
