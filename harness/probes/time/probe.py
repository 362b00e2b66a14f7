"""Seconds of a training step by phase, of its bare forward, and of the frozen reference step.

A sample is one plain forward (no graph, no trace), one training step and one step of
`harness.reference`, right after each other, in every order in turn. So `time.trace` (forward minus
plain forward) and the ratios to the reference, taken pair by pair, see the same machine twice.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Final

import torch

from harness import ceiling, clocks
from harness.errors import TrialError
from harness.probe import PHASES, Bench, Probe, Reading
from harness.probes.time import limits, sampling, stopwatch, yardstick
from harness.probes.time.sampling import Sample
from harness.probes.time.stopwatch import Spans, Task
from harness.probes.time.yardstick import Yardstick
from harness.reference import Reference
from harness.rows import Row

_PLAIN: Final = "plain"
_STEP: Final = "method"
_REFERENCE: Final = "reference"


class Time(Probe):
    """Raw seconds of every sample, after a warm-up."""

    def measure(self, bench: Bench) -> Reading:
        """Warm up until samples no longer get faster, then sample.

        Raises
        ------
        TrialError
            If the step leaves out a phase or its loss is not finite; if a time is shorter than the
            device or the host's clock allows; or if the CUDA allocator ran short and retried.
        """
        bench.rehearse()
        yard = yardstick.fitting(bench)
        reading = None
        if yard.reference is not None:
            try:
                reading = _measure(bench, yard)
            except (torch.OutOfMemoryError, _CrowdedError) as error:
                yard = yardstick.left_out(f"{type(error).__name__}: {error}")
        if reading is None:  # outside the handler, which would keep the reference alive
            torch.cuda.empty_cache()
            reading = _measure(bench, yard)
        return reading


class _CrowdedError(TrialError):
    """The allocator freed its cache while we measured."""


def _measure(bench: Bench, yard: Yardstick) -> Reading:
    on_gpu = bench.device.type == "cuda"
    clock = stopwatch.on_cuda if on_gpu else stopwatch.on_cpu
    tasks = _tasks(bench, yard.reference)
    retries = _retries(bench)
    gc.collect()
    with _no_collection():
        warm_up = sampling.warm_up(tasks, clock)
        before = clocks.look()
        taken = sampling.take(tasks, clock)
        after = clocks.look()
    if (retries := _retries(bench) - retries) > 0:
        raise _CrowdedError(
            f"the CUDA allocator freed its cache and retried {retries} times while steps were "
            "timed, which made them slower. Use a smaller batch or T, or free the card"
        )
    steps = [sample[_STEP] for sample in taken]
    facts: dict[str, Any] = {
        "clock": "CUDA events" if on_gpu else "perf_counter",
        "reference": yard.fact,
        "warm_up": asdict(warm_up),
        "samples": len(taken),
        "drift": round(sampling.drift([spans["step"] for spans in steps]), 3),
        "cpu": clocks.between(before, after),
        **limits.host_agrees(steps),
        **_arithmetic(bench, steps),
    }
    return Reading((*_rows(taken), *_ratios(taken)), facts)


def _tasks(bench: Bench, reference: Reference | None) -> dict[str, Task]:
    tasks: dict[str, Task] = {_PLAIN: lambda _: bench.plain_forward(), _STEP: bench.step}
    if reference is not None:
        tasks[_REFERENCE] = lambda phase: reference.step(bench.x, bench.y, phase)
    return tasks


def _arithmetic(bench: Bench, steps: Sequence[Spans]) -> dict[str, Any]:
    """Facts about the FLOP/s that the samples imply."""
    try:
        done = limits.work(bench)
    except torch.OutOfMemoryError as error:  # what is compiled runs eagerly while it is counted
        return {"achieved_flop_per_s": f"not counted: {error}"}
    return limits.achieved(steps, done, ceiling.of(bench.device, bench.cell.dtype))


def _retries(bench: Bench) -> int:
    if bench.device.type != "cuda":
        return 0
    return int(torch.cuda.memory_stats(bench.device)["num_alloc_retries"])


def _rows(taken: Sequence[Sample]) -> list[Row]:
    steps = [sample[_STEP] for sample in taken]
    plain = [sample[_PLAIN]["step"] for sample in taken]
    trace = [spans["forward"] - bare for spans, bare in zip(steps, plain, strict=True)]
    rows = [_seconds(phase, phase, [spans[phase] for spans in steps]) for phase in PHASES]
    rows.append(_seconds("step", "step", [spans["step"] for spans in steps]))
    if "host" in steps[0]:
        rows.append(_seconds("host", "step", [spans["host"] for spans in steps]))
    return [*rows, _seconds("plain_forward", "forward", plain), _seconds("trace", "forward", trace)]


def _ratios(taken: Sequence[Sample]) -> list[Row]:
    """The reference's seconds, and the method's over them, sample by sample."""
    if _REFERENCE not in taken[0]:
        return []
    rows = [_seconds("reference", "step", [sample[_REFERENCE]["step"] for sample in taken])]
    for phase in ("step", "backward"):
        ratios = tuple(sample[_STEP][phase] / sample[_REFERENCE][phase] for sample in taken)
        rows.append(Row(f"ratio.{phase}", phase, "1", "noisy", ratios))
    return rows


def _seconds(name: str, phase: str, seconds: list[float]) -> Row:
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
