"""What the first steps of a cell build before anything can be timed: compiled graphs, a capture."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

import torch

from harness.errors import TrialError
from harness.rows import Row
from harness.trial.probe import Bench

MAX_ROUNDS: Final = 5
"""Rounds after which the step must be built; a graph for the first time step and one for the
others, and another for state that outlives a step, are done in two."""

_NAMES: Final = {"compile": "time.compile", "cuda_graph": "time.capture"}


def build(bench: Bench) -> tuple[Row, ...]:
    """Run steps and plain forwards until nothing is built any more.

    Returns:
        `time.compile` or `time.capture`: the seconds of the rounds that built something, less those
        that the last round, which built nothing, needed for the same work. Nothing for a cell whose
        steps run as they are written.

    Raises:
        TrialError: if the step leaves out a phase, its loss is not finite, or it is still being
            built after `MAX_ROUNDS`.
    """
    if bench.cell.execution not in _NAMES:
        bench.rehearse()
        return ()
    seconds: list[float] = []
    for _ in range(MAX_ROUNDS):
        before = bench.ran()
        start = time.perf_counter()
        bench.rehearse()
        if bench.phases:
            bench.plain_forward()
        if bench.device.type == "cuda":
            torch.cuda.synchronize(bench.device)
        seconds.append(time.perf_counter() - start)
        if bench.ran() == before:
            *built, done = seconds
            took = max(0.0, sum(built) - len(built) * done)
            return (Row(_NAMES[bench.cell.execution], "step", "s", "noisy", (took,)),)
    raise TrialError(
        f"after {MAX_ROUNDS} steps the step is still being compiled ({dict(bench.ran())}): it is "
        "another program each time, so its time is nobody's. Run the cell with execution = 'eager'"
    )


def check_settled(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Refuse samples during which something was built.

    Raises:
        TrialError: if the facts on how steps ran have changed.
    """
    if before != after:
        raise TrialError(
            f"the step was compiled while it was timed ({dict(before)} became {dict(after)}): some "
            "samples hold the compiler's time. Nothing of this trial can be used; run the cell "
            "with execution = 'eager'"
        )
