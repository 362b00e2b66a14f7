"""Two clocks for work that tells its phases: the host's, and CUDA's events."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from harness.trial.probe import Phase

Spans = dict[str, float]
"""Seconds by phase, a phase that was entered many times summed up; "step" is all of it."""

Task = Callable[[Phase], object]
Clock = Callable[[Task], Spans]


def on_cpu(work: Task) -> Spans:
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


def on_cuda(work: Task) -> Spans:
    """Like `on_cpu`, by events on the current stream; the host's seconds under "host".

    There is one synchronisation, at the end, and the host's clock stops after it. The device must
    be idle at the start, as the synchronisation of the call before leaves it.
    """
    marks: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def phase(name: str) -> Iterator[None]:
        start = _event()
        yield
        marks.append((name, start, _event()))

    begin = time.perf_counter()
    with phase("step"):
        work(phase)
    torch.cuda.synchronize()
    spans: Spans = defaultdict(float, host=time.perf_counter() - begin)
    for name, start, end in marks:
        spans[name] += start.elapsed_time(end) / 1e3
    return spans


def _event() -> torch.cuda.Event:
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event
