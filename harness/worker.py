"""The process of one trial: `python -m harness.worker SPEC.json OUT.json`.

Reads a `TrialSpec`, runs it, writes the answer in one piece. The exit code is 0 whenever the answer
was written, whatever it says. With a GPU, once its memory is at its peak, it prints the line
"measured" and waits for one line on standard input, so that the parent can ask the driver.

To debug one trial, pipe its specification: `python -m harness.worker - - < SPEC.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any, Final

from harness import trial
from harness.spec import TrialSpec

MEASURED: Final = "measured"
_PIPE: Final = "-"


def main(arguments: list[str]) -> int:
    """Run the trial that `arguments` (paths of the specification and the answer) name."""
    source, target = _paths(arguments)
    text = sys.stdin.read() if source == _PIPE else Path(source).read_text(encoding="utf-8")
    spec = TrialSpec.from_json(json.loads(text))
    handshake = _Handshake(wanted=spec.cell.device == "cuda" and source != _PIPE)
    answer = trial.run(spec, handshake)
    handshake()
    _write(answer.to_json(), target)
    return 0


def _paths(arguments: list[str]) -> tuple[str, str]:
    parser = argparse.ArgumentParser(prog="python -m harness.worker", description="Run one trial.")
    parser.add_argument("spec", help="JSON file with a TrialSpec, or - for standard input")
    parser.add_argument("out", help="JSON file for the answer, or - for standard output")
    parsed = parser.parse_args(arguments)
    return parsed.spec, parsed.out


class _Handshake:
    """Lets the parent read the driver's figures, once."""

    def __init__(self, *, wanted: bool) -> None:
        self._wanted = wanted

    def __call__(self) -> None:
        """Say that the figures stand, and wait for the parent to have read them."""
        if self._wanted:
            self._wanted = False
            sys.stdout.write(f"{MEASURED}\n")
            sys.stdout.flush()
            sys.stdin.readline()


def _write(answer: dict[str, Any], target: str) -> None:
    text = json.dumps(answer, indent=1, allow_nan=False)
    if target == _PIPE:
        sys.stdout.write(f"{text}\n")
        return
    part = Path(f"{target}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, target)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
