"""Bytes of a training step: the allocators' peaks, then the exact count of live tensors.

In this order, because watching every operator disturbs the allocators. All figures are of a step
that finds gradients and optimiser state in place, after two steps of warm-up.
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

from harness.errors import TrialError
from harness.probe import PHASES, Bench, Probe, Reading
from harness.rows import Row
from harness.tracker import LiveBytes

_WARM_UP: Final = 2
_PINNED: Final = "MALLOC_MMAP_THRESHOLD_"
_STATUS: Final = Path("/proc/self/status")
_CLEAR: Final = Path("/proc/self/clear_refs")
_RESET_PEAK: Final = "5"
_POLL_S: Final = 0.001


class Memory(Probe):
    """Allocator peaks (banded) and live tensor bytes by phase (exact)."""

    def measure(self, bench: Bench) -> Reading:
        """Measure one training step.

        Raises
        ------
        TrialError
            If the step leaves out a phase, or its loss is not finite; or if the CUDA allocator had
            to free its cache and try again: its peaks then say nothing.
        """
        for _ in range(_WARM_UP):
            bench.rehearse()
        bench.plain_forward()
        gc.collect()
        if bench.device.type == "cuda":
            rows, facts = _cuda_peaks(bench)
            bench.measured()
        else:
            rows, facts = _resident_peak(bench)
        return Reading((*rows, *_live(bench)), facts)


def _live(bench: Bench) -> tuple[Row, ...]:
    """Exact rows: bytes above the persistent set."""
    step = LiveBytes(bench.persistent())
    with step:
        bench.step(step.phase)
    plain = LiveBytes(bench.persistent())
    with plain:
        bench.plain_forward()
    peaks = {"step": step.peak(), **{phase: step.peak(phase) for phase in PHASES}}
    return (
        *(_exact("live_peak", phase, peak) for phase, peak in peaks.items()),
        _exact("live_after_forward", "forward", step.at_entry("backward")),
        _exact("plain_forward", "forward", plain.peak()),
        _exact("trace", "forward", peaks["forward"] - plain.peak()),
        _exact("persistent", "step", step.persistent),
    )


def _exact(name: str, phase: str, value: int) -> Row:
    return Row(f"mem.{name}", phase, "B", "exact", (value,))


def _banded(metric: str, value: int) -> Row:
    return Row(metric, "step", "B", "banded", (value,))


def _cuda_peaks(bench: Bench) -> tuple[list[Row], dict[str, Any]]:
    """Peaks of torch's CUDA allocator over two steps, persistent tensors included."""
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    bench.step()
    bench.step()
    torch.cuda.synchronize()
    stats = torch.cuda.memory_stats()
    retries = stats["num_alloc_retries"]
    if retries:
        raise TrialError(
            f"the CUDA allocator freed its cache and retried {retries} times: the card is too full "
            "for a peak that means anything. Use a smaller batch or T, or free the card"
        )
    kinds = ("requested", "allocated", "reserved")
    rows = [_banded(f"cuda.{kind}_peak", stats[f"{kind}_bytes.all.peak"]) for kind in kinds]
    return rows, {"dispatch_device": "cuda"}


def _resident_peak(bench: Bench) -> tuple[list[Row], dict[str, Any]]:
    """Resident bytes of the process above what it held before the step.

    Only where malloc gives freed blocks back at once: otherwise the step reuses resident pages and
    the figure would be anything between nothing and the truth.
    """
    facts: dict[str, Any] = {"dispatch_device": "cpu"}
    if _PINNED not in os.environ:
        return [], facts | {"rss": f"not measured: {_PINNED} is not set, so malloc keeps pages"}
    method, peak = peak_of(bench.step)
    return [_banded("cpu.rss_peak", peak)], facts | {"rss": method}


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
