"""Joules of a training step: a counter read around windows of many steps.

The counters move in jumps of 10 to 100 ms, so a window lasts a second at least. One window ends
where the next begins: what a jump adds to one it takes from its neighbour, and the mean is exact.
They count the whole device (or all processor packages), at rest too; the power at rest, with the
device opened and before the first step, is a fact beside the rows.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

import torch

from harness.errors import AbsentError, TrialError
from harness.machine import gpu, rapl
from harness.rows import Row
from harness.trial.probe import Bench, Probe, Reading

WINDOW_S: Final = 1.0
MIN_WINDOWS: Final = 5
MAX_WINDOWS: Final = 10
MAX_SECONDS: Final = 30.0
"""After `MIN_WINDOWS`, no window begins later than this."""

REST_S: Final = 1.0
_WARM_UP: Final = 3
_FIRST_LOOK_S: Final = 0.1
_MARGIN: Final = 1.05


class EnergyCounter(Protocol):
    """Counts energy; readings mean something in pairs."""

    @property
    def names(self) -> str:
        """What it counts, for the record."""

    @property
    def longest_s(self) -> float:
        """Seconds that a window may last."""

    def read(self) -> Any:
        """The count now; raises `AbsentError`."""

    def joules(self, start: Any, end: Any) -> float:
        """Energy between two readings."""


class Energy(Probe):
    """Raw joules a step and a sample, one value a window."""

    def measure(self, bench: Bench) -> Reading:
        """Measure the power at rest, warm up, then read the counter around windows of steps.

        Raises:
            AbsentError: if there is no counter that counts this device alone, or it does not move.
            TrialError: if the step leaves out a phase, its loss is not finite, or the counter goes
                backwards.
        """
        bench.alone()
        with counter_of(bench.device) as counter:
            _wait(bench.device)
            rest = _at_rest(counter)
            for _ in range(_WARM_UP):
                bench.rehearse()
            gc.collect()
            windows = list(_windows(bench, counter))
        steps = tuple(joules / count for joules, count, _ in windows)
        rows = (
            Row("energy.step", "step", "J", "noisy", steps),
            Row("energy.sample", "step", "J", "noisy", tuple(j / bench.cell.batch for j in steps)),
        )
        facts = {
            "energy_counter": counter.names,
            "rest_watts": round(rest, 3),
            "steps_per_window": [count for _, count, _ in windows],
            "window_seconds": [round(seconds, 4) for *_, seconds in windows],
        }
        return Reading(rows, facts)


@contextmanager
def counter_of(device: torch.device) -> Iterator[EnergyCounter]:
    """The counter of the device that a bench computes on.

    Raises:
        AbsentError: if there is none, or it may not be read.
    """
    if device.type == "cpu":
        yield rapl.packages(rapl.ROOT)
        return
    with gpu.device() as opened:
        if isinstance(opened, gpu.Absent):
            raise AbsentError(f"no energy counter of the GPU: {opened.reason}")
        yield _Board(opened)


class _Board:
    """NVML's counter of one board, in mJ; 64 bits wide, so it never starts again."""

    longest_s: Final = math.inf

    def __init__(self, device: gpu.Device) -> None:
        self._device = device

    @property
    def names(self) -> str:
        return f"NVML {self._device.uuid}"

    def read(self) -> int:
        counted = gpu.energy(self._device)
        if isinstance(counted, gpu.Absent):
            raise AbsentError(
                f"no energy counter of the GPU: {counted.reason}; boards before Volta and MIG "
                "instances have none: drop 'energy' from probes"
            )
        return counted

    def joules(self, start: int, end: int) -> float:
        return (end - start) / 1e3


def _at_rest(counter: EnergyCounter) -> float:
    """Watts while nothing of ours computes."""
    start, begin = counter.read(), time.perf_counter()
    time.sleep(REST_S)
    seconds = time.perf_counter() - begin
    return _joules(counter, start, counter.read(), seconds) / seconds


def _windows(bench: Bench, counter: EnergyCounter) -> Iterator[tuple[float, int, float]]:
    """Joules, steps and seconds of each window, back to back."""
    chunk = max(1, math.ceil(_MARGIN * WINDOW_S / _step_seconds(bench)))
    first = begin = time.perf_counter()
    start = counter.read()
    for done in range(MAX_WINDOWS):
        if done >= MIN_WINDOWS and begin - first > MAX_SECONDS:
            return
        count, seconds, more = 0, 0.0, chunk
        while seconds < WINDOW_S:
            _steps(bench, more)
            count, more = count + more, math.ceil(chunk / 10)
            end, now = counter.read(), time.perf_counter()
            seconds = now - begin
        yield _joules(counter, start, end, seconds), count, seconds
        start, begin = end, now


def _step_seconds(bench: Bench) -> float:
    """Seconds of a step, roughly."""
    begin, count = time.perf_counter(), 0
    while time.perf_counter() - begin < _FIRST_LOOK_S:
        _steps(bench, 1)
        count += 1
    return (time.perf_counter() - begin) / count


def _steps(bench: Bench, count: int) -> None:
    for _ in range(count):
        bench.step()
    _wait(bench.device)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _joules(counter: EnergyCounter, start: Any, end: Any, seconds: float) -> float:
    joules = counter.joules(start, end)
    if seconds > counter.longest_s:
        raise TrialError(
            f"a window of {seconds:.0f} s is too long for the counter, which may turn over after "
            f"{counter.longest_s:.0f} s: use a smaller batch or T"
        )
    if joules < 0:
        raise TrialError(
            f"the energy counter went back by {-joules:g} J (was the driver loaded anew?): measure "
            "again"
        )
    if joules == 0:
        raise AbsentError(
            f"the energy counter stood still for {seconds:.1f} s: this device does not count"
        )
    return joules
