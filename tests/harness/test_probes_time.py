"""The time probe: rows, facts, and times that are refused, on a bench without the library."""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from probe_bench import bench

from harness.errors import TrialError
from harness.trial import probes
from harness.trial.probe import PHASES, Bench, Reading
from harness.trial.probes.time import probe, sampling, stopwatch, yardstick
from harness.trial.probes.time.stopwatch import Spans, Task
from harness.trial.reference import Reference


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """As few samples as a slow cell would get."""
    monkeypatch.setattr(sampling, "ENOUGH_SAMPLES", sampling.MIN_SAMPLES)
    monkeypatch.setattr(sampling, "ENOUGH_SECONDS", 0.0)


def measured(made: Bench) -> tuple[Reading, dict[str, Any]]:
    reading = probes.get("time").measure(made)
    return reading, {row.metric: row for row in reading.rows}


PLAIN_PHASES = {
    "time.forward": "forward",
    "time.backward": "backward",
    "time.update": "update",
    "time.step": "step",
    "time.plain_forward": "forward",
    "time.trace": "forward",
}


def test_the_time_probe_keeps_every_sample() -> None:
    reading, rows = measured(bench())
    assert {name: row.phase for name, row in rows.items()} == PLAIN_PHASES | {
        "time.reference": "step",
        "ratio.step": "step",
        "ratio.backward": "backward",
    }
    samples = reading.facts["samples"]
    assert samples >= sampling.MIN_SAMPLES
    assert {len(row.values) for row in rows.values()} == {samples}
    value = {name: row.values for name, row in rows.items()}
    for i in range(samples):
        bare = value["time.plain_forward"][i]
        assert value["time.trace"][i] == value["time.forward"][i] - bare
        assert 0 < sum(value[f"time.{phase}"][i] for phase in PHASES) <= value["time.step"][i]
        assert value["ratio.step"][i] == value["time.step"][i] / value["time.reference"][i]
        assert value["ratio.backward"][i] > 0
    units = {row.unit for name, row in rows.items() if name.startswith("ratio.")}
    assert units == {"1"}
    assert {row.kind for row in rows.values()} == {"noisy"}


def test_the_facts_say_how_it_was_measured() -> None:
    reading, _ = measured(bench())
    facts = reading.facts
    assert facts["clock"] == "perf_counter"
    assert facts["reference"] == "version 1"
    assert sampling.MIN_WARM_UP <= facts["warm_up"]["samples"] <= sampling.MAX_WARM_UP
    assert facts["drift"] > 0
    assert facts["cpu"]["own_share"] > 0
    assert facts["achieved_flop_per_s"].keys() == {"forward", "backward", "step"}


def test_samples_run_without_the_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    on: list[bool] = []

    def clock(work: Task) -> Spans:
        on.append(gc.isenabled())
        work(lambda _: nullcontext())
        return dict.fromkeys((*PHASES, "step"), 1.0)

    monkeypatch.setattr(stopwatch, "on_cpu", clock)
    measured(bench())
    assert not any(on)
    assert gc.isenabled()


def without_reference(reading: Reading, rows: dict[str, Any], why: str) -> None:
    assert why in reading.facts["reference"]
    assert reading.facts["reference"].startswith("left out: ")
    assert {name: row.phase for name, row in rows.items()} == PLAIN_PHASES


def test_a_reference_that_does_not_fit_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yardstick, "available", lambda _: 100)
    needs = yardstick.needed(bench())
    without_reference(*measured(bench()), f"needs {needs} B, free 100 B")


def test_a_reference_that_runs_out_of_memory_all_the_same_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = Reference.step

    def step(self: Reference, x: Any, y: Any, phase: Any) -> Any:
        if type(x) is torch.Tensor:  # the rehearsal on fake tensors fits
            raise torch.OutOfMemoryError("no room")
        return real(self, x, y, phase)

    monkeypatch.setattr(Reference, "step", step)
    without_reference(*measured(bench()), "OutOfMemoryError: no room")


def on_cuda(monkeypatch: pytest.MonkeyPatch, retries: list[int], ratio: float) -> Bench:
    """A bench that says it is on a GPU; the host's clock runs at `ratio` of the events'."""

    def clock(work: Task) -> Spans:
        spans = stopwatch.on_cpu(work)
        return spans | {"host": ratio * spans["step"]}

    left = iter(retries)
    monkeypatch.setattr(stopwatch, "on_cuda", clock)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "memory_stats", lambda _: {"num_alloc_retries": next(left)})
    monkeypatch.setattr(yardstick, "available", lambda _: 2**30)
    monkeypatch.setattr(probe.ceiling, "of", lambda *_: probe.ceiling.Ceiling(None, None, "none"))
    return replace(bench(), device=torch.device("cuda"))


def test_on_a_gpu_the_host_s_clock_is_kept_beside_the_events(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reading, rows = measured(on_cuda(monkeypatch, [3, 3], 1.25))
    assert reading.facts["clock"] == "CUDA events"
    assert reading.facts["host_over_events"] == 1.25
    assert rows["time.host"].phase == "step"
    for host, step in zip(rows["time.host"].values, rows["time.step"].values, strict=True):
        assert host == 1.25 * step


def test_a_host_that_did_not_wait_makes_the_trial_invalid(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TrialError, match=r"after 0\.5 of the time that CUDA's events measured"):
        measured(on_cuda(monkeypatch, [0, 0], 0.5))


def test_a_crowded_card_drops_the_reference_first(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, _ = measured(on_cuda(monkeypatch, [0, 2, 2, 2], 1.0))
    assert "retried 2 times" in reading.facts["reference"]


def test_a_crowded_card_without_reference_has_no_times(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TrialError, match=r"retried 1 times.*smaller batch"):
        measured(on_cuda(monkeypatch, [0, 2, 2, 3], 1.0))


def hurried(factor: float) -> Callable[[Task], Spans]:
    """A clock that runs slow by this factor, as one does that is stopped too early."""

    def clock(work: Task) -> Spans:
        return {name: seconds / factor for name, seconds in real(work).items()}

    real = stopwatch.on_cpu
    return clock


def test_a_clock_that_is_stopped_too_early_makes_the_trial_invalid(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stopwatch, "on_cpu", hurried(1e9))
    with pytest.raises(TrialError, match=r"360 FLOP in .* FLOP/s, but .*not synchronised"):
        measured(bench())
