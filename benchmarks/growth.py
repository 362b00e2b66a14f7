"""How the time of a backward grows with T: one Linear+LIF layer, trained by exact BPTT.

    python -m benchmarks.growth [--method bptt_m] [--processes 5]

The logarithm of the median time is fitted by a straight line in the logarithm of T, in each
process by itself; printed are the slope's median and quartiles over processes. 1 is linear. A loop
that indexes a time axis has slope 2: the gradient by one step is a tensor of all T steps. Time is
processor time of the single thread, which a busy neighbour does not stretch.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import typer
from torch import nn

import ratebp
from benchmarks.processes import answers
from harness.errors import HarnessError
from harness.results.stats import interquartile, median

LENGTHS = (16, 32, 64, 128, 256)
BATCH, WIDTH = 16, 512
MOST = 1.15
"""The largest slope that docs/performance.md asks for."""


class _Backward(ratebp.StepContext):
    """Keeps the processor seconds of the phase "backward"."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        start = time.process_time()
        yield
        if name == "backward":
            self.seconds.append(time.process_time() - start)


def measure(request: dict[str, Any]) -> list[float]:
    """Median seconds of a backward at each of `request["lengths"]`, taken in turn."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(request["width"], request["width"]), ratebp.LIF())
    method = ratebp.methods.get(request["method"])
    y = torch.randint(request["width"], (request["batch"],))
    bound = {T: method.bind(model, T) for T in request["lengths"]}
    seen = {T: _Backward() for T in bound}
    for _ in range(request["rounds"] + 1):  # the first is a warm-up
        for T, each in bound.items():
            x = torch.randn(T, request["batch"], request["width"])
            each.step(x, y, context=seen[T])
    return [median(context.seconds[1:]) for context in seen.values()]


def slope(lengths: Sequence[int], seconds: Sequence[float]) -> float:
    """Least-squares slope of log seconds against log T."""
    return float(np.polyfit(np.log(lengths), np.log(seconds), 1)[0])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure in several processes and print the slope; 1 if it is above `MOST`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--method", default="bptt_m", help="default: bptt_m")
    parser.add_argument("--processes", type=int, default=5, help="default: 5")
    parser.add_argument("--rounds", type=int, default=7, help="of all T, a process (default: 7)")
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, help="values of T")
    asked = parser.parse_args(arguments)
    sizes = {"batch": BATCH, "width": WIDTH, "lengths": list(asked.lengths)}
    request = {"method": asked.method, "rounds": asked.rounds, **sizes}
    try:
        runs = list(answers("benchmarks.growth:measure", request, asked.processes))
    except HarnessError as refusal:
        typer.echo(f"error: {refusal}", err=True)
        return 2
    for T, seconds in zip(asked.lengths, zip(*runs, strict=True), strict=True):
        typer.echo(f"T={T}: backward {median(seconds) * 1e3:.2f} ms")
    slopes = [slope(asked.lengths, run) for run in runs]
    low, high = interquartile(slopes)
    found = median(slopes)
    typer.echo(
        f"{asked.method}, Linear({WIDTH}, {WIDTH}) + LIF, batch {BATCH}: log-log slope "
        f"{found:.3f}, quartiles {low:.3f} to {high:.3f} over {len(runs)} processes; asked: at "
        f"most {MOST}"
    )
    return int(found > MOST)


if __name__ == "__main__":
    sys.exit(main())
