"""What one process does: check both sides, count what they hold, or time them alternately."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.peers.equality import ROUNDED, agreement, demand_equal, demand_near
from benchmarks.peers.sides import Side, ours
from harness.machine import clocks
from harness.results.stats import median
from harness.spec import Cell, Choice
from harness.trial.bench import build, usual
from harness.trial.exact.tracker import LiveBytes

SMALL_BATCH = 2
SEEDS = range(8)
"""Samples, and draws of weights and batch, of the check in float32."""


def check(request: dict[str, Any]) -> dict[str, Any]:
    """Compare one step in float64 at full size, then small ones in float32.

    Raises:
        UnequalError: if the sides differ.
    """
    both = sides(request, "float64")
    found = agreement(*both)
    demand_equal(found, both[1].label)
    tried = []
    for seed in SEEDS:
        small = sides({**request, "batch": min(request["batch"], SMALL_BATCH)}, "float32", seed)
        tried.append(agreement(*small).worst[0])
        if tried[-1] <= ROUNDED:
            break
    demand_near(tried, both[1].label)
    labels = [side.label for side in both]
    return {"labels": labels, "float32": tried[-1], "seeds": len(tried), **asdict(found)}


def race(request: dict[str, Any]) -> dict[str, Any]:
    """Time both sides, which `check` found equal, in float32 in blocks of ABBA."""
    a, b = sides(request, "float32")
    ready = _ready(request["device"])
    for side in (a, b):
        side.step()
    before = clocks.look()
    blocks = [[_seconds(side, ready) for side in (a, b, b, a)] for _ in range(request["blocks"])]
    load = clocks.between(before, clocks.look())
    return {
        "wall": _summary([[wall for wall, _ in block] for block in blocks]),
        "processor": _summary([[busy for _, busy in block] for block in blocks]),
        "others": load["others"],
    }


def count(request: dict[str, Any]) -> dict[str, Any]:
    """Most live bytes and the arithmetic of a float32 step of both sides, ours first."""
    both = sides(request, "float32")
    return {"peaks": [peak(side) for side in both], "flops": [_flops(side) for side in both]}


def _summary(blocks: list[list[float]]) -> dict[str, float]:
    """Medians of our seconds, theirs, and their ratio block by block."""
    return {
        "ours_s": median([t for block in blocks for t in (block[0], block[3])]),
        "theirs_s": median([t for block in blocks for t in (block[1], block[2])]),
        "ratio": median([(b[0] + b[3]) / (b[1] + b[2]) for b in blocks]),
    }


def sides(request: dict[str, Any], dtype: str, seed: int = 0) -> tuple[Side, Side]:
    """Both sides of the cell that `request` names, with the same weights and batch."""
    cell = Cell(
        Choice.make(request["method"], request["options"]),
        Choice.make(request["model"]),
        request["data"],
        T=request["T"],
        batch=request["batch"],
        dtype=dtype,
        device=request["device"],
        seed=seed,
        operators=usual(request["device"]),
    )
    bench = build(cell)
    return ours(bench), import_module(request["peer"]).rival(bench, request)


def peak(side: Side) -> int:
    """Most bytes of tensors alive in a step, above what outlives it."""
    side.step()
    tracker = LiveBytes(list(side.persistent()))
    with tracker:
        side.step()
    return tracker.peak()


def _flops(side: Side) -> int:
    with FlopCounterMode(display=False) as counter:
        side.step()
    return int(counter.get_total_flops())


def _seconds(side: Side, ready: Callable[[], None]) -> tuple[float, float]:
    """Seconds of a step: on the wall, and of the processor."""
    ready()
    start, busy = time.perf_counter(), time.process_time()
    side.step()
    ready()
    return time.perf_counter() - start, time.process_time() - busy


def _ready(device: str) -> Callable[[], None]:
    return torch.cuda.synchronize if device == "cuda" else lambda: None
