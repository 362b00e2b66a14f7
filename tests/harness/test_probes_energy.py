"""Joules of a step, by counters that count steps."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import fake_nvml
import pytest
import torch
from fake_nvml import FakeNvml
from probe_bench import bench

from harness.errors import AbsentError, TrialError
from harness.machine import gpu, rapl
from harness.trial import probes
from harness.trial.probe import Reading
from harness.trial.probes import energy


class Steps:
    """Three joules for each step that a bench has run, and one while it rests."""

    names = "steps"
    longest_s = 60.0

    def __init__(self, log: list[str]) -> None:
        self.log = log

    def read(self) -> float:
        return 3.0 * self.log.count("step")

    def joules(self, start: float, end: float) -> float:
        return end - start or 1.0


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of hundredths of a second."""
    for name in ("WINDOW_S", "REST_S", "_FIRST_LOOK_S"):
        monkeypatch.setattr(energy, name, 0.02)


@pytest.fixture
def measure(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Reading]:
    """Measure the bench with a counter of steps."""

    def measure(counter: type[Steps] = Steps) -> Reading:
        log: list[str] = []

        @contextmanager
        def counter_of(_: torch.device) -> Iterator[Steps]:
            yield counter(log)

        monkeypatch.setattr(energy, "counter_of", counter_of)
        return probes.get("energy").measure(bench(log=log))

    return measure


def test_joules_of_a_step_and_of_a_sample(measure: Callable[..., Reading]) -> None:
    reading = measure()
    step, sample = reading.rows
    assert (step.metric, step.phase, step.unit, step.kind) == ("energy.step", "step", "J", "noisy")
    assert set(step.values) == {3.0}
    assert (sample.metric, set(sample.values)) == ("energy.sample", {3.0 / 5})
    assert len(step.values) == len(sample.values) == energy.MAX_WINDOWS


def test_every_window_is_long_enough(measure: Callable[..., Reading]) -> None:
    facts = measure().facts
    assert facts["energy_counter"] == "steps"
    assert facts["rest_watts"] > 0
    assert len(facts["window_seconds"]) == len(facts["steps_per_window"]) == energy.MAX_WINDOWS
    assert min(facts["window_seconds"]) >= energy.WINDOW_S
    assert min(facts["steps_per_window"]) >= 1


def test_slow_steps_get_fewer_windows(
    measure: Callable[..., Reading], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(energy, "MAX_SECONDS", 0.0)
    assert len(measure().rows[0].values) == energy.MIN_WINDOWS


def test_a_counter_that_goes_backwards_is_no_figure(measure: Callable[..., Reading]) -> None:
    class Backwards(Steps):
        def joules(self, start: float, end: float) -> float:
            return start - end or 1.0

    with pytest.raises(TrialError, match="went back by") as caught:
        measure(Backwards)
    assert not isinstance(caught.value, AbsentError)


def test_a_counter_that_stands_still_does_not_count(measure: Callable[..., Reading]) -> None:
    class Still(Steps):
        def joules(self, start: float, end: float) -> float:
            return 0.0

    with pytest.raises(AbsentError, match="stood still"):
        measure(Still)


def test_a_window_longer_than_the_counter_can_count(measure: Callable[..., Reading]) -> None:
    class Narrow(Steps):
        longest_s = 0.001

    with pytest.raises(TrialError, match="too long for the counter"):
        measure(Narrow)


def test_on_a_cpu_the_packages_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rapl, "ROOT", tmp_path)
    with pytest.raises(AbsentError, match="no energy counter of the processor"):
        probes.get("energy").measure(bench())


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    fake = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    return fake


def test_on_a_gpu_the_board_counts(nvml: FakeNvml) -> None:
    counts = iter([1_000, 4_500])
    nvml.boards[0].energy = lambda: next(counts)
    with energy.counter_of(torch.device("cuda")) as counter:
        assert counter.names == f"NVML {nvml.boards[0].uuid}"
        assert counter.joules(counter.read(), counter.read()) == 3.5
        nvml.failing["nvmlDeviceGetTotalEnergyConsumption"] = fake_nvml.NOT_SUPPORTED
        with pytest.raises(AbsentError, match=r"Not Supported; boards before Volta and MIG"):
            counter.read()
    assert nvml.open == 0


def test_no_driver_no_counter(nvml: FakeNvml) -> None:
    nvml.driver_error = fake_nvml.LIBRARY_NOT_FOUND
    with (
        pytest.raises(AbsentError, match="no energy counter of the GPU: NVMLError_LibraryNot"),
        energy.counter_of(torch.device("cuda")),
    ):
        pytest.fail("there is no counter")
    with gpu.device() as device:
        assert isinstance(device, gpu.Absent)
