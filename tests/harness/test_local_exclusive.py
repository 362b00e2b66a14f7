"""Trials in turn, in real processes: they get ready together and measure one at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
from fakes import Recorder

from harness.machine.child import Deadline
from harness.outcome import Outcome
from harness.results.store import Store
from harness.run.exclusive import Turns
from harness.run.executors import TrialStopped
from harness.run.executors.local import LocalExecutor
from harness.run.scheduler import Scheduler
from harness.spec import TrialSpec

MakeSpec = Callable[..., TrialSpec]


def test_a_scheduler_lets_timings_get_ready_together_and_measure_one_by_one(
    executor: LocalExecutor, make_spec: MakeSpec, tmp_path: Path
) -> None:
    ended: list[Outcome] = []

    def record(spec: TrialSpec, outcome: Outcome, attempts: int) -> dict[str, object]:
        ended.append(outcome)
        return {"trial": spec.trial}

    specs = [make_spec("waits", probe="time", trial=f"{n}0") for n in range(3)]
    Scheduler(Store(tmp_path), executor, Recorder(), record, jobs=3).measure(specs)
    assert [outcome.status for outcome in ended] == ["ok"] * 3, [o.error for o in ended]
    assert all(outcome.facts["in_turn"] for outcome in ended)
    spans = sorted((o.facts["start"], o.facts["end"]) for o in ended)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def test_a_trial_alone_is_not_asked_to_wait(
    executor: LocalExecutor, make_spec: MakeSpec, tmp_path: Path
) -> None:
    outcome = executor.run(make_spec("waits", probe="time"), tmp_path / "trial")
    assert outcome.facts["in_turn"] is False


def test_waiting_counts_neither_towards_the_limit_nor_as_the_trials_time(
    executor: LocalExecutor, make_spec: MakeSpec, tmp_path: Path
) -> None:
    turns = Turns(2)
    spec = make_spec("waits", probe="time", timeout_s=5.0)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(executor.run, spec, tmp_path / "trial", turns.member(1))
        time.sleep(6.0)
        assert not future.done()
        turns.member(0).leave()
        outcome = future.result(30)
    assert outcome.status == "ok", outcome.error
    assert outcome.seconds < 6.0


def test_stopping_frees_a_trial_that_waits(
    executor: LocalExecutor, make_spec: MakeSpec, tmp_path: Path
) -> None:
    turns = Turns(2)
    with ThreadPoolExecutor(1) as pool:
        spec = make_spec("waits", probe="time")
        future = pool.submit(executor.run, spec, tmp_path / "trial", turns.member(1))
        time.sleep(0.5)
        executor.stop()
        with pytest.raises(TrialStopped):
            future.result(30)


def test_a_deadline_stands_still_while_it_is_paused() -> None:
    rang = threading.Event()
    deadline = Deadline(0.05, rang.set)
    deadline.resume()
    deadline.pause()
    assert not rang.wait(0.2)
    deadline.resume()
    assert rang.wait(10)
