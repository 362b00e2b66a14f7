"""The command line `ratebp-bench`: parse, call, print.

Exit codes: 0 done, 1 some trials failed or a check found something wrong, 2 the user can mend it,
130 interrupted; `gate` has its own, see `harness.gate.verdict`.
"""

from __future__ import annotations

import sys

import typer

from harness.cli import check, judge, measure, predict
from harness.cli.app import app
from harness.errors import HarnessError

__all__ = ["app", "check", "judge", "main", "measure", "predict"]


def main() -> None:
    """Entry point: errors that a user can mend become one message and exit code 2."""
    try:
        app()
    except HarnessError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
