"""Seconds of a training step by phase, and of its forward without graph and trace.

A sample is one plain forward and one training step, one right after the other, the order swapped
each time, so that `time.trace` (their difference, pair by pair) sees the same machine twice. A
phase that a method enters many times in a step is summed over the step.
"""

from __future__ import annotations

import gc
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch

from harness.probe import PHASES, Bench, Phase, Probe, Reading
from harness.rows import Row

MIN_WARM_UP: Final = 3
MAX_WARM_UP: Final = 10
STABLE: Final = 0.95
"""Warm-up ends with the first step that takes at least this share of the fastest one before."""

ENOUGH_SAMPLES: Final = 10
ENOUGH_SECONDS: Final = 1.0
MIN_SAMPLES: Final = 5
MAX_SAMPLES: Final = 500
MAX_SECONDS: Final = 3.0

Spans = dict[str, float]
Clock = Callable[[Callable[[Phase], object]], Spans]


class Time(Probe):
    """Raw seconds of every sample, after a warm-up."""

    def measure(self, bench: Bench) -> Reading:
        """Warm up until a step is no longer clearly faster than those before, then sample.

        Raises
        ------
        TrialError
            If the step leaves out a phase, or its loss is not finite.
        """
        bench.rehearse()
        on_gpu = bench.device.type == "cuda"
        clock = on_cuda if on_gpu else on_cpu
        gc.collect()
        with _no_collection():
            warm_up = _warm_up(bench, clock)
            busy, wall = time.process_time(), time.perf_counter()
            plain, steps = _sample(bench, clock)
            busy, wall = time.process_time() - busy, time.perf_counter() - wall
        facts: dict[str, Any] = {
            "clock": "CUDA events" if on_gpu else "perf_counter",
            "warm_up_steps": warm_up,
            "samples": len(steps),
            # Well below 1 on a CPU: others took this core while we measured.
            "cpu_share": round(busy / wall, 3),
        }
        return Reading(_rows(plain, steps), facts)


def on_cpu(work: Callable[[Phase], object]) -> Spans:
    """Run `work(phase)`; seconds of each phase, and of all of it under "step"."""
    spans: Spans = defaultdict(float)

    @contextmanager
    def phase(name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        spans[name] += time.perf_counter() - start

    start = time.perf_counter()
    work(phase)
    spans["step"] = time.perf_counter() - start
    return spans


def on_cuda(work: Callable[[Phase], object]) -> Spans:
    """Like `on_cpu`, by events on the current stream, with one synchronisation at the end."""
    marks: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def phase(name: str) -> Iterator[None]:
        start = _event()
        yield
        marks.append((name, start, _event()))

    with phase("step"):
        work(phase)
    torch.cuda.synchronize()
    spans: Spans = defaultdict(float)
    for name, start, end in marks:
        spans[name] += start.elapsed_time(end) / 1e3
    return spans


def _event() -> torch.cuda.Event:
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def _plain(bench: Bench, clock: Clock) -> float:
    return clock(lambda _: bench.plain_forward())["step"]


def _warm_up(bench: Bench, clock: Clock) -> int:
    """Run steps until they are stable; return how many."""
    fastest = float("inf")
    for count in range(1, MAX_WARM_UP + 1):
        _plain(bench, clock)
        seconds = clock(bench.step)["step"]
        if count >= MIN_WARM_UP and seconds >= STABLE * fastest:
            return count
        fastest = min(fastest, seconds)
    return MAX_WARM_UP


def _sample(bench: Bench, clock: Clock) -> tuple[list[float], list[Spans]]:
    plain: list[float] = []
    steps: list[Spans] = []
    start = time.perf_counter()
    while not _enough(len(steps), time.perf_counter() - start):
        if len(steps) % 2 == 0:
            plain.append(_plain(bench, clock))
            steps.append(clock(bench.step))
        else:
            steps.append(clock(bench.step))
            plain.append(_plain(bench, clock))
    return plain, steps


def _enough(samples: int, seconds: float) -> bool:
    full = samples >= ENOUGH_SAMPLES and seconds >= ENOUGH_SECONDS
    late = samples >= MIN_SAMPLES and seconds >= MAX_SECONDS
    return full or late or samples >= MAX_SAMPLES


def _rows(plain: list[float], steps: list[Spans]) -> tuple[Row, ...]:
    forward = [step["forward"] for step in steps]
    trace = [whole - bare for whole, bare in zip(forward, plain, strict=True)]
    rows = [_row(phase, phase, [step[phase] for step in steps]) for phase in (*PHASES, "step")]
    return (*rows, _row("plain_forward", "forward", plain), _row("trace", "forward", trace))


def _row(name: str, phase: str, seconds: list[float]) -> Row:
    return Row(f"time.{name}", phase, "s", "noisy", tuple(seconds))


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the garbage collector out of the samples."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
