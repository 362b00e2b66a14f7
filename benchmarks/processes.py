"""Runs a function of a benchmark in fresh processes: one thread, and a heap that is kept.

A freed block that goes back to the kernel faults in again, which doubles a step's time on a CPU and
penalises whoever holds more memory; glibc is told before the process starts, as for the trials of
`harness`. The answer travels as JSON in a file, so that what a peer prints does no harm.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.machine import start
from harness.rows import MEASUREMENT_VERSION
from harness.run.executors.settings import child_environment
from harness.spec import Cell, Choice, TrialSpec

_REFUSED = 3
_ROOT = Path(__file__).parents[1]


def answers(function: str, request: dict[str, Any], count: int) -> Iterator[Any]:
    """Call ``function(request)`` in `count` processes, one after the other.

    Args:
        function: ``package.module:name``; takes the request and returns what JSON can hold.
        request: plain values.
        count: how many processes.

    Raises:
        HarnessError: if the function raised one (its message), or the process died.
    """
    for _ in range(count):
        with tempfile.TemporaryDirectory(prefix="ratebp-benchmark-") as folder:
            yield _answer(function, request, Path(folder) / "answer.json")


def _answer(function: str, request: dict[str, Any], file: Path) -> Any:
    command = [*start.command(__name__), function, json.dumps(request), str(file)]
    done = subprocess.run(command, cwd=_ROOT, env=_environment(), check=False)
    if done.returncode not in (0, _REFUSED) or not file.exists():
        raise HarnessError(
            f"{function} ended with code {done.returncode}: its own words are above. Asked was "
            f"{request}"
        )
    answer = json.loads(file.read_text(encoding="utf-8"))
    if done.returncode == _REFUSED:
        raise HarnessError(answer)
    return answer


def _environment() -> dict[str, str]:
    """The variables of a timed trial of `harness`."""
    cell = Cell(Choice("bptt_m"), Choice("tiny_resnet"), "digits", T=1, batch=1)
    spec = TrialSpec("", "", cell, "time", 0, 0, 0.0, "", "", MEASUREMENT_VERSION)
    return child_environment(spec)


def main(function: str, request: str, file: str) -> int:
    """Answer one request; returns the exit code."""
    module, _, name = function.partition(":")
    try:
        answer = getattr(importlib.import_module(module), name)(json.loads(request))
    except HarnessError as refusal:
        Path(file).write_text(json.dumps(str(refusal)), encoding="utf-8")
        return _REFUSED
    Path(file).write_text(json.dumps(answer), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
