"""Seconds of a training step by phase, of its bare forward, and of the frozen reference step.

A sample is one plain forward (no graph, no trace), one training step and one step of
`trial.reference`, right after each other, in every order in turn. So `time.trace` (forward minus
plain forward) and the ratios to the reference, taken pair by pair, see the same machine twice.

What is built at the first step (compiled graphs, a captured one) is built before the warm-up and
has a row of its own; a step that is compiled again while it is timed makes the trial invalid.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any, Final

import torch

from harness.errors import TrialError
from harness.machine import clocks
from harness.rows import Row
from harness.trial import ceiling
from harness.trial.probe import Bench, Probe, Reading
from harness.trial.probes.time import building, limits, sampling, stopwatch, yardstick
from harness.trial.probes.time.sampling import Sample
from harness.trial.probes.time.stopwatch import Spans, Task
from harness.trial.probes.time.yardstick import Yardstick
from harness.trial.reference import Reference

_PLAIN: Final = "plain"
_STEP: Final = "method"
_REFERENCE: Final = "reference"


class Time(Probe):
    """Raw seconds of every sample, after a warm-up."""

    def measure(self, bench: Bench) -> Reading:
        """Warm up until samples no longer get faster, then sample.

        Raises:
            TrialError: if the step leaves out a phase or its loss is not finite; if a time is
                shorter than the device or the host's clock allows; if the step is compiled while it
                is timed; or if the CUDA allocator ran short and retried.
        """
        yard = yardstick.fitting(bench)
        bench.alone()
        built = building.build(bench)
        reading = None
        if yard.reference is not None:
            try:
                reading = _measure(bench, yard)
            except (torch.OutOfMemoryError, _CrowdedError) as error:
                yard = yardstick.left_out(f"{type(error).__name__}: {error}")
        if reading is None:  # outside the handler, which would keep the reference alive
            torch.cuda.empty_cache()
            reading = _measure(bench, yard)
        return replace(reading, rows=(*reading.rows, *built))


class _CrowdedError(TrialError):
    """The allocator freed its cache while we measured."""


def _measure(bench: Bench, yard: Yardstick) -> Reading:
    on_gpu = bench.device.type == "cuda"
    clock = stopwatch.on_cuda if on_gpu else stopwatch.on_cpu
    tasks = _tasks(bench, yard.reference)
    retries = _retries(bench)
    ran = bench.ran()
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
    building.check_settled(ran, bench.ran())
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
    rows = (*_rows(taken, bench.phases), *_ratios(taken, bench.phases))
    return Reading(rows, facts)


def _tasks(bench: Bench, reference: Reference | None) -> dict[str, Task]:
    tasks: dict[str, Task] = {_STEP: bench.step}
    if bench.phases:  # a captured step has no forward to set beside the plain one
        tasks = {_PLAIN: lambda _: bench.plain_forward(), **tasks}
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


def _rows(taken: Sequence[Sample], phases: Sequence[str]) -> list[Row]:
    steps = [sample[_STEP] for sample in taken]
    rows = [_seconds(phase, phase, [spans[phase] for spans in steps]) for phase in phases]
    rows.append(_seconds("step", "step", [spans["step"] for spans in steps]))
    if "host" in steps[0]:
        rows.append(_seconds("host", "step", [spans["host"] for spans in steps]))
    if _PLAIN not in taken[0]:
        return rows
    plain = [sample[_PLAIN]["step"] for sample in taken]
    trace = [spans["forward"] - bare for spans, bare in zip(steps, plain, strict=True)]
    return [*rows, _seconds("plain_forward", "forward", plain), _seconds("trace", "forward", trace)]


def _ratios(taken: Sequence[Sample], phases: Sequence[str]) -> list[Row]:
    """The reference's seconds, and the method's over them, sample by sample."""
    if _REFERENCE not in taken[0]:
        return []
    rows = [_seconds("reference", "step", [sample[_REFERENCE]["step"] for sample in taken])]
    for phase in ("step", *(["backward"] if "backward" in phases else [])):
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
