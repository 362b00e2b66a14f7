"""Bytes of a training step: the allocators' peaks, then the exact tier.

In this order, because watching every operator disturbs the allocators. All figures are of a step
that finds gradients and optimiser state in place, after two steps of warm-up.

What an allocator saw and the exact count did not is a figure of its own, the *workspace*: scratch
memory inside operators and whatever else never passes the dispatcher. A method that hides its
memory in an operator of its own shows up there.
"""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import psutil
import torch
from torch.profiler import ProfilerActivity, profile, record_function

from harness.errors import AbsentError, TrialError
from harness.rows import Row
from harness.trial.exact import tier
from harness.trial.probe import Bench, Probe, Reading

_WARM_UP: Final = 2
_PINNED: Final = "MALLOC_MMAP_THRESHOLD_"
_STATUS: Final = Path("/proc/self/status")
_CLEAR: Final = Path("/proc/self/clear_refs")
_RESET_PEAK: Final = "5"
_POLL_S: Final = 0.001
_ALLOCATION: Final = "[memory]"
_SECOND_RUN: Final = "second run of the step"
_RESERVED: Final = "cuda.reserved_peak"
_TROUBLES: Final = {"num_alloc_retries": "freed its cache and retried", "num_ooms": "ran out"}


class Memory(Probe):
    """Peaks of the allocators (banded), live bytes and operations by phase (exact)."""

    def measure(self, bench: Bench) -> Reading:
        """Measure one training step.

        Raises:
            AbsentError: if the cell's execution hides its operators, and no device's allocator
                tells more.
            TrialError: if the step leaves out a phase, or its loss is not finite; if the CUDA
                allocator had to free its cache and try again: its peaks then say nothing; or if the
                step cannot be counted, see `harness.trial.exact.tier.measure`.
        """
        if bench.uncounted is not None and bench.device.type != "cuda":
            raise AbsentError(bench.uncounted)
        on_gpu = bench.device.type == "cuda"
        for _ in range(_WARM_UP):
            bench.rehearse()
        bench.plain_forward()
        gc.collect()
        if bench.uncounted is not None:
            return _driver_only(bench, bench.uncounted)
        peaks, facts = _cuda_peaks(bench) if on_gpu else _cpu_peaks(bench)
        count = tier.measure(bench)
        workspace = _cuda_workspace if on_gpu else _cpu_workspace
        figures = {(row.metric, row.phase): int(row.values[0]) for row in count.rows}
        banded = peaks | workspace(peaks, figures)
        return Reading((*_rows(banded), *count.rows), facts | count.facts)


Peaks = dict[str, int]


def _rows(banded: Peaks) -> list[Row]:
    return [Row(metric, "step", "B", "banded", (value,)) for metric, value in banded.items()]


def _driver_only(bench: Bench, why: str) -> Reading:
    """A GPU's allocator alone, for a step whose operators nobody sees.

    A captured graph holds its tensors in a pool of its own: between replays the allocator calls
    them free, so that of its peaks only the reserved one is true.
    """
    peaks, facts = _cuda_peaks(bench)
    facts = facts | {"exact": f"not counted: {why}"}
    if not bench.phases:
        peaks = {_RESERVED: peaks[_RESERVED]}
        facts["allocated"] = "not told: the allocator does not see inside a graph's pool"
    return Reading(tuple(_rows(peaks)), facts)


Figures = dict[tuple[str, str], int]
_LIVE: Final = ("mem.live_peak", "step")
_PERSISTENT: Final = ("mem.persistent", "step")


def _cuda_peaks(bench: Bench) -> tuple[Peaks, dict[str, Any]]:
    """Peaks of torch's CUDA allocator over two steps, persistent tensors included.

    The parent reads the driver's figures while `measured` is called: reserved memory is then at its
    peak, which holds until the cache is emptied.
    """
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    bench.step()
    bench.step()
    torch.cuda.synchronize()
    stats = torch.cuda.memory_stats()
    for counter, what in _TROUBLES.items():
        if stats[counter]:
            raise TrialError(
                f"the CUDA allocator {what} {stats[counter]} times: the card is too full for a "
                "peak that means anything. Use a smaller batch or T, or free the card"
            )
    bench.measured()
    kinds = ("requested", "allocated", "reserved")
    return {f"cuda.{kind}_peak": stats[f"{kind}_bytes.all.peak"] for kind in kinds}, {}


def _cuda_workspace(peaks: Peaks, exact_figures: Figures) -> Peaks:
    """What operators requested for themselves; at least what was alive at the exact peak."""
    counted = exact_figures[_PERSISTENT] + exact_figures[_LIVE]
    return {"cuda.workspace": peaks["cuda.requested_peak"] - counted}


def _cpu_peaks(bench: Bench) -> tuple[Peaks, dict[str, Any]]:
    """Resident bytes of the process, then bytes asked of torch's allocator, above those before.

    The former only where malloc gives freed blocks back at once: otherwise the step reuses resident
    pages and the figure would be anything between nothing and the truth.
    """
    if _PINNED not in os.environ:
        facts = {"rss": f"not measured: {_PINNED} is not set, so malloc keeps pages"}
        return {"cpu.requested_peak": requested_peak(bench.step)}, facts
    method, resident = peak_of(bench.step)
    requested = requested_peak(bench.step)
    return {"cpu.rss_peak": resident, "cpu.requested_peak": requested}, {"rss": method}


def _cpu_workspace(peaks: Peaks, exact_figures: Figures) -> Peaks:
    return {"mem.workspace": peaks["cpu.requested_peak"] - exact_figures[_LIVE]}


def requested_peak(step: Callable[[], object]) -> int:
    """Most bytes that torch's CPU allocator had handed out within `step`, above those before it.

    Replayed from the profiler's record of every allocation and release, those inside operators
    too, while nothing watches the operators themselves. The profiler does not see the release of
    what was there before it; so the step runs twice and the second run counts.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as run:
        step()
        with record_function(_SECOND_RUN):
            step()
    events = sorted(run.profiler.kineto_results.events(), key=lambda event: event.start_ns())
    live = before = highest = 0
    for event in events:
        if event.name() == _SECOND_RUN:
            before = highest = live
        elif event.name() == _ALLOCATION:
            live += event.nbytes()
            highest = max(highest, live)
    return highest - before


def peak_of(step: Callable[[], object]) -> tuple[str, int]:
    """How the resident peak of `step` was measured, and its bytes above those before."""
    try:
        _CLEAR.write_text(_RESET_PEAK)
        base = _status("VmRSS")
    except OSError:
        return "polled every millisecond", _polled(step)
    step()
    return "VmHWM after clear_refs", _status("VmHWM") - base


def _status(field: str) -> int:
    """A field of /proc/self/status, which counts in kiB, in bytes."""
    for line in _STATUS.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    raise OSError(f"{_STATUS} has no {field}")


def _polled(step: Callable[[], object]) -> int:
    process = psutil.Process()
    base = process.memory_info().rss
    highest = base
    over = threading.Event()

    def poll() -> None:
        nonlocal highest
        while not over.wait(_POLL_S):
            highest = max(highest, process.memory_info().rss)

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        step()
    finally:
        over.set()
        thread.join()
    return highest - base
