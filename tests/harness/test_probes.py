"""The registry of probes, the time probe and its clocks, on a bench without the library."""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
import torch
from probe_bench import bench

from harness import probes
from harness.errors import TrialError
from harness.probe import Phase, unwatched
from harness.probes import time as time_probe
from harness.spec import PROBES

COSTS = ("time", "memory")


class FakeTime:
    """A clock that advances by one second each time that it is read."""

    def __init__(self) -> None:
        self.perf_counter = count().__next__
        self.process_time = count().__next__


def test_every_name_of_the_specification_is_a_probe() -> None:
    assert [type(probes.get(name)).__name__.lower() for name in PROBES] == list(PROBES)


def test_an_unknown_probe_is_named_with_the_legal_ones() -> None:
    with pytest.raises(TrialError, match=r"unknown probe 'tmie' \(did you mean 'time'\?\).*memory"):
        probes.get("tmie")


def test_the_cpu_clock_sums_repeated_phases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_probe, "time", FakeTime())

    def work(phase: Phase) -> None:
        for _ in range(3):
            with phase("forward"):
                pass
            with phase("backward"):
                pass

    assert time_probe.on_cpu(work) == {"forward": 3, "backward": 3, "step": 13}


def test_the_cuda_clock_waits_once_and_reads_events(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    tick = count()

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            self.at = next(tick)
            calls.append("record")

        def elapsed_time(self, other: Event) -> float:
            assert calls[-1] == "wait"
            return 1e3 * (other.at - self.at)

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: calls.append("wait"))

    def work(phase: Phase) -> None:
        for _ in range(2):
            with phase("forward"):
                pass
        with phase("update"):
            pass

    assert time_probe.on_cuda(work) == {"forward": 2, "update": 1, "step": 7}
    assert calls == ["record"] * 8 + ["wait"]


@pytest.mark.parametrize(
    ("seconds", "steps"),
    [
        ([9.0, 1.0, 1.0], 3),  # stable at once, but never fewer than three
        ([9.0, 5.0, 3.0, 2.0, 1.95], 5),  # each clearly faster than those before, until the last
        ([1.0, 1.0, 5.0], 3),  # slower counts as no longer faster
        ([2.0**-n for n in range(99)], time_probe.MAX_WARM_UP),
    ],
)
def test_warm_up_ends_when_steps_stop_getting_faster(seconds: list[float], steps: int) -> None:
    log: list[str] = []
    left = iter(seconds)

    def clock(work: Callable[[Phase], object]) -> dict[str, float]:
        work(lambda _: nullcontext())
        return {"step": next(left) if log[-1] == "step" else 0.0}

    assert time_probe._warm_up(bench(log=log), clock) == steps
    assert log == ["plain", "step"] * steps


@pytest.mark.parametrize(
    ("samples", "seconds", "enough"),
    [
        (9, 2.9, False),
        (10, 0.9, False),
        (10, 1.0, True),
        (4, 99.0, False),
        (5, 2.9, False),
        (5, 3.0, True),
        (500, 0.1, True),
    ],
)
def test_how_many_samples_are_enough(samples: int, seconds: float, enough: bool) -> None:
    assert time_probe._enough(samples, seconds) is enough


def test_samples_swap_their_order_and_run_without_the_collector() -> None:
    log: list[str] = []
    on: list[bool] = []

    def clock(work: Callable[[Phase], object]) -> dict[str, float]:
        on.append(gc.isenabled())
        work(lambda _: nullcontext())
        return {"step": 1.0}

    with time_probe._no_collection():
        plain, steps = time_probe._sample(bench(log=log), clock)
    assert len(plain) == len(steps)
    assert len(steps) % 2 == 0
    assert log == ["plain", "step", "step", "plain"] * (len(steps) // 2)
    assert not any(on)
    assert gc.isenabled()


def test_the_time_probe_keeps_every_sample() -> None:
    reading = probes.get("time").measure(bench())
    rows = {row.metric: row for row in reading.rows}
    phases = {name: row.phase for name, row in rows.items()}
    assert phases == {
        "time.forward": "forward",
        "time.backward": "backward",
        "time.update": "update",
        "time.step": "step",
        "time.plain_forward": "forward",
        "time.trace": "forward",
    }
    samples = reading.facts["samples"]
    assert samples >= time_probe.MIN_SAMPLES
    assert {len(row.values) for row in rows.values()} == {samples}
    assert {(row.unit, row.kind) for row in rows.values()} == {("s", "noisy")}
    value: dict[str, Any] = {name.partition(".")[2]: row.values for name, row in rows.items()}
    for i in range(samples):
        assert value["trace"][i] == value["forward"][i] - value["plain_forward"][i]
        parts = value["forward"][i] + value["backward"][i] + value["update"][i]
        assert 0 < parts <= value["step"][i]
    assert reading.facts["clock"] == "perf_counter"
    assert time_probe.MIN_WARM_UP <= reading.facts["warm_up_steps"] <= time_probe.MAX_WARM_UP


@pytest.mark.parametrize("probe", COSTS)
def test_a_step_that_leaves_out_phases_has_no_figures(probe: str) -> None:
    whole = bench()
    silent = replace(whole, train_step=lambda x, y, _: whole.train_step(x, y, unwatched))
    with pytest.raises(TrialError, match=r"never entered phase 'forward' and 'backward' and"):
        probes.get(probe).measure(silent)


@pytest.mark.parametrize("probe", COSTS)
@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_step_whose_loss_is_not_finite_has_no_figures(probe: str, loss: float) -> None:
    whole = bench()
    lost = replace(whole, train_step=lambda *given: whole.train_step(*given) * loss)
    with pytest.raises(TrialError, match=r"loss of a training step is (nan|inf)"):
        probes.get(probe).measure(lost)
