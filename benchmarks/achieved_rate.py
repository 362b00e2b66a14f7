"""Which share of a step's time its convolutions and matrix products would take alone.

    python -m benchmarks.achieved_rate [--method rate_m] [--model resnet18] [--processes 5]

The operators that count as FLOP (`torch.utils.flop_counter`) are recorded in one step and then run
again by themselves, in their order, on tensors of the same shapes: that is how fast this machine
convolves what the step convolves. Step and recording are timed in turn (ABBA) in one process. The
share is the rate that the step achieves divided by the rate of its convolutions alone; 1 would be
a step in which everything else is free. Time is processor time of the single thread, which a busy
neighbour does not stretch.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
import typer
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from benchmarks.processes import answers
from harness.errors import HarnessError
from harness.machine import clocks
from harness.results.stats import interquartile, median
from harness.spec import Cell, Choice
from harness.trial.bench import build, usual

TARGET = 0.9


class Recorder(TorchDispatchMode):
    """Notes every operator that has a FLOP formula, with tensors of its arguments' shapes."""

    def __init__(self) -> None:
        """Start with an empty list."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []
        self._tensors: dict[tuple[Any, ...], Tensor] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run `func`; remember it if it counts."""
        kwargs = kwargs or {}
        if func._overloadpacket in flop_registry:
            self.calls.append((func, tree_map(self._like, args), tree_map(self._like, kwargs)))
        return func(*args, **kwargs)

    def replay(self) -> None:
        """Run what was noted, in order; results are dropped."""
        with torch.no_grad():
            for func, args, kwargs in self.calls:
                func(*args, **kwargs)

    def _like(self, value: Any) -> Any:
        """A tensor of the same layout and type, shared by all calls: what holds no memory more."""
        if not isinstance(value, Tensor):
            return value
        key = (tuple(value.shape), value.stride(), value.dtype, value.device)
        if key not in self._tensors:
            self._tensors[key] = torch.randn_like(value, memory_format=torch.preserve_format)
        return self._tensors[key]


def measure(request: dict[str, Any]) -> dict[str, Any]:
    """FLOP of a step, and seconds of the step and of its FLOP alone."""
    cell = Cell(
        Choice.make(request["method"], request["options"]),
        Choice.make(request["model"]),
        request["data"],
        T=request["T"],
        batch=request["batch"],
        operators=usual("cpu"),
    )
    bench = build(cell)
    bench.step()
    with FlopCounterMode(display=False) as counter:
        bench.step()
    recorder = Recorder()
    with recorder:
        bench.step()
    recorder.replay()
    with FlopCounterMode(display=False) as again:
        recorder.replay()
    if again.get_total_flops() != counter.get_total_flops():
        raise HarnessError(
            f"the recording has {again.get_total_flops()} FLOP, the step "
            f"{counter.get_total_flops()}: it is not the step's arithmetic"
        )
    before = clocks.look()
    blocks = []
    for _ in range(request["blocks"]):
        turns = (bench.step, recorder.replay, recorder.replay, bench.step)
        blocks.append([_seconds(turn) for turn in turns])
    return {
        "flops": counter.get_total_flops(),
        "step_s": median([t for block in blocks for t in (block[0], block[3])]),
        "alone_s": median([t for block in blocks for t in (block[1], block[2])]),
        "share": median([(b[1] + b[2]) / (b[0] + b[3]) for b in blocks]),
        "others": clocks.between(before, clocks.look())["others"],
    }


def _seconds(turn: Callable[[], object]) -> float:
    start = time.process_time()
    turn()
    return time.process_time() - start


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure in several processes and print the share; 1 if it is below `TARGET`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--method", default="rate_m", help="default: rate_m")
    parser.add_argument("--option", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    parser.add_argument("--model", default="resnet18", help="default: resnet18")
    parser.add_argument("--data", default="synthetic-3x32x32-10", help="default: %(default)s")
    parser.add_argument("--T", type=int, default=4, help="default: 4")
    parser.add_argument("--batch", type=int, default=16, help="default: 16")
    parser.add_argument("--processes", type=int, default=5, help="default: 5")
    parser.add_argument("--blocks", type=int, default=3, help="of ABBA a process (default: 3)")
    asked = parser.parse_args(arguments)
    request = {**vars(asked), "options": dict(asked.option)}
    try:
        runs = list(answers("benchmarks.achieved_rate:measure", request, asked.processes))
    except HarnessError as refusal:
        typer.echo(f"error: {refusal}", err=True)
        return 2
    flops = runs[0]["flops"]
    step, alone = (median([run[name] for run in runs]) for name in ("step_s", "alone_s"))
    shares = [run["share"] for run in runs]
    low, high = interquartile(shares)
    busy = max((run["others"] or 0.0 for run in runs), default=0.0)
    typer.echo(
        f"{asked.method} {asked.model} T={asked.T} batch {asked.batch}: {flops / 1e9:.1f} GFLOP; "
        f"step {step:.3f} s = {flops / step / 1e9:.1f} GFLOP/s, its convolutions and products "
        f"alone {alone:.3f} s = {flops / alone / 1e9:.1f} GFLOP/s"
    )
    typer.echo(
        f"share {median(shares):.3f}, quartiles {low:.3f} to {high:.3f} over {len(runs)} "
        f"processes; asked: at least {TARGET}. Others kept up to {busy:.2f} cores busy"
    )
    return int(median(shares) < TARGET)


if __name__ == "__main__":
    sys.exit(main())
