"""The clocks of the time probe, its warm-up and the order of its samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from itertools import count, pairwise

import pytest
import torch

from harness.trial.probe import Phase
from harness.trial.probes.time import sampling, stopwatch
from harness.trial.probes.time.stopwatch import Spans, Task


class FakeTime:
    """A clock that advances by one second each time that it is read."""

    def __init__(self) -> None:
        self.perf_counter = count().__next__


def test_the_cpu_clock_sums_repeated_phases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopwatch, "time", FakeTime())

    def work(phase: Phase) -> None:
        for _ in range(3):
            with phase("forward"):
                pass
            with phase("backward"):
                pass

    assert stopwatch.on_cpu(work) == {"forward": 3, "backward": 3, "step": 13}


def test_the_cuda_clock_waits_once_and_reads_both_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    tick = count()

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            self.at = next(tick)
            calls.append("record")

        def elapsed_time(self, other: Event) -> float:
            assert calls[-1] == "host"
            return 1e3 * (other.at - self.at)

    def host() -> float:
        calls.append("host")
        return 10.0 * len(calls)

    monkeypatch.setattr(stopwatch.time, "perf_counter", host)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: calls.append("wait"))

    def work(phase: Phase) -> None:
        for _ in range(2):
            with phase("forward"):
                pass
        with phase("update"):
            pass

    spans = stopwatch.on_cuda(work)
    assert spans == {"forward": 2, "update": 1, "step": 7, "host": 100.0}
    assert calls == ["host", *["record"] * 8, "wait", "host"]


def fake(seconds: list[float]) -> tuple[dict[str, Task], Callable[[Task], Spans]]:
    """Two tasks, and a clock by which the samples take `seconds`, shared among them."""
    left = iter([second / 2 for second in seconds for _ in range(2)])
    tasks: dict[str, Task] = {"a": lambda _: None, "b": lambda _: None}
    return tasks, lambda work: {"step": next(left)}


@pytest.mark.parametrize(
    ("seconds", "samples", "stable"),
    [
        ([1.0] * 9, 6, True),  # stable at once, but the rule needs two windows
        ([9.0, 5.0, 3.0, 2.0, 1.9, 1.8, 1.9, 1.8, 1.9], 9, True),
        ([1.0, 1.0, 1.0, 0.1, 1.0, 5.0], 6, True),  # one odd sample decides nothing
        ([2.0**-n for n in range(99)], sampling.MAX_WARM_UP, False),
    ],
)
def test_warm_up_ends_when_samples_stop_getting_faster(
    monkeypatch: pytest.MonkeyPatch, seconds: list[float], samples: int, stable: bool
) -> None:
    monkeypatch.setattr(sampling.time, "perf_counter", lambda: 0.0)
    found = sampling.warm_up(*fake(seconds))
    assert (found.samples, found.stable) == (samples, stable)


def test_warm_up_of_a_slow_cell_ends_before_the_rule_can_be_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sampling.time, "perf_counter", count().__next__)
    found = sampling.warm_up(*fake([9.0] * 9))
    assert (found.samples, found.stable) == (sampling.MIN_WARM_UP, None)


@pytest.mark.parametrize(
    ("samples", "seconds", "enough"),
    [
        (11, 1.9, False),
        (12, 0.9, False),
        (12, 1.0, True),
        (5, 99.0, False),
        (6, 1.9, False),
        (6, 2.0, True),
        (498, 0.1, True),
    ],
)
def test_how_many_samples_are_enough(samples: int, seconds: float, enough: bool) -> None:
    assert sampling.enough(samples, seconds) is enough


@pytest.mark.parametrize("names", ["ab", "abc"])
def test_every_task_follows_every_other_one_equally_often(
    monkeypatch: pytest.MonkeyPatch, names: str
) -> None:
    monkeypatch.setattr(sampling.time, "perf_counter", lambda: 0.0)
    log: list[str] = []
    tasks: dict[str, Task] = {name: lambda _, name=name: log.append(name) for name in names}

    def clock(work: Task) -> Spans:
        work(lambda _: nullcontext())
        return {"step": 1.0}

    taken = sampling.take(tasks, clock)
    assert len(taken) == sampling.MAX_SAMPLES
    size = len(names)
    samples = [log[i : i + size] for i in range(0, len(log), size)]
    assert all(sorted(sample) == list(names) for sample in samples)
    pairs = Counter(pair for sample in samples for pair in pairwise(sample))
    assert len(pairs) == size * (size - 1)
    assert len(set(pairs.values())) == 1


def test_drift_compares_the_halves() -> None:
    assert sampling.drift([2.0, 2.0, 9.0, 1.0, 1.0]) == 0.5
