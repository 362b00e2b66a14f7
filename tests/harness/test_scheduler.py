"""Who runs beside whom, and how a run ends before its end."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from fakes import DRIVE, Recorder

from harness.errors import StoreError
from harness.outcome import Outcome
from harness.results.store import Store, load
from harness.run.exclusive import Turn
from harness.run.executors import TrialStopped
from harness.run.scheduler import Scheduler
from harness.spec import TrialSpec

Write = Callable[..., Path]


class Together:
    """An executor that notes who runs at the same time."""

    def __init__(self) -> None:
        self.seen: list[list[str]] = []
        self._running: list[str] = []
        self._lock = threading.Lock()
        self.stopped = False

    def run(self, spec: TrialSpec, folder: Path, turn: Turn | None = None) -> Outcome:
        if self.stopped:
            raise TrialStopped
        if turn is not None:
            turn.take(threading.Event())
        name = f"{spec.probe} {spec.cell.device}"
        with self._lock:
            self._running.append(name)
            self.seen.append(sorted(self._running))
        time.sleep(0.05)
        with self._lock:
            self._running.remove(name)
        return Outcome("ok", started="2024-01-01T00:00:00+00:00", seconds=0.05)

    def stop(self) -> None:
        self.stopped = True


def _record(spec: TrialSpec, outcome: Outcome, attempts: int) -> dict[str, object]:
    return {"trial": spec.trial}


def test_timings_and_gpu_trials_run_alone(
    tmp_path: Path, make_spec: Callable[..., TrialSpec]
) -> None:
    kinds = [("memory", "cpu")] * 5 + [("time", "cpu")] * 2 + [("memory", "cuda")] * 2
    kinds += [("accuracy", "cpu")] * 3
    specs = [
        make_spec(probe=probe, device=device, trial=f"t{number}")
        for number, (probe, device) in enumerate(kinds)
    ]
    together = Together()
    scheduler = Scheduler(Store(tmp_path), together, Recorder(), _record, jobs=3)
    scheduler.measure(specs)
    assert scheduler.measured == len(specs)
    assert max(map(len, together.seen)) == 3
    for names in together.seen:
        if "time cpu" in names or "memory cuda" in names:
            assert len(names) == 1


def test_a_disk_that_refuses_ends_the_run(
    tmp_path: Path, make_spec: Callable[..., TrialSpec]
) -> None:
    (tmp_path / "file").touch()
    specs = [make_spec(trial=f"t{number}") for number in range(20)]
    together = Together()
    scheduler = Scheduler(Store(tmp_path / "file"), together, Recorder(), _record, jobs=2)
    with pytest.raises(StoreError, match="cannot write"):
        scheduler.measure(specs)
    assert together.stopped
    assert len(together.seen) < 20


class Driven:
    """A run in a process of its own, each of whose trials takes a while."""

    def __init__(self, sweep: Path, sleep: float, jobs: int = 1) -> None:
        self.folder = sweep.parent / "results" / "runs" / "demo"
        self.log = sweep.parent / "started"
        self._command = [*DRIVE, str(sweep), str(sweep.parent / "results"), str(jobs)]
        self._environment = {"FAKE_SLEEP": str(sleep), "FAKE_LOG": str(self.log)}

    def __enter__(self) -> Driven:
        self.process = subprocess.Popen(
            self._command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | self._environment,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def trials_begin(self, count: int) -> None:
        """Wait until that many trials have begun."""
        deadline = time.monotonic() + 30
        while len(self.started()) < count:
            assert time.monotonic() < deadline, "the trials do not begin"
            assert self.process.poll() is None, self.process.communicate()[0]
            time.sleep(0.01)

    def started(self) -> list[str]:
        """Trials begun so far."""
        return self.log.read_text().split() if self.log.exists() else []

    def done(self) -> set[str]:
        """Trials with a record so far."""
        return {path.stem for path in self.folder.glob("trials/*.json")}


def _no_orphans(folder: Path) -> bool:
    """Whether no process works for the folder any more, within a few seconds."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        commands = [
            " ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])
        ]
        if not any(str(folder) in command for command in commands):
            return True
        time.sleep(0.05)
    return False


def test_kill_9_in_the_middle_and_a_second_run(write_sweep: Write) -> None:
    sweep = write_sweep(T=[1, 2, 4])
    with Driven(sweep, sleep=0.1, jobs=2) as run:
        run.trials_begin(8)
        run.process.kill()
        run.process.wait()
        done = run.done()
        assert 0 < len(done) < 12
        assert _no_orphans(run.folder)
    begun = run.started()
    with Driven(sweep, sleep=0) as run:
        output, _ = run.process.communicate(timeout=60)
    assert run.process.returncode == 0, output
    again = run.started()[len(begun) :]
    assert set(again) & done == set()
    assert len(again) == len(set(again)) == 12 - len(done)
    trials = load(run.folder).trials["trial"]
    assert len(trials) == trials.nunique() == 12
    assert (run.folder / "trials.csv").read_text().count("\n") == 13
    assert "heavy: []" in output


def test_the_first_interrupt_lets_the_trial_finish(write_sweep: Write) -> None:
    with Driven(write_sweep(), sleep=0.6) as run:
        run.trials_begin(1)
        run.process.send_signal(signal.SIGINT)
        output, _ = run.process.communicate(timeout=30)
    assert run.process.returncode == 130
    assert "Ctrl-C again kills them" in output
    assert len(run.done()) == len(run.started()) == 1
    assert len((run.folder / "trials.csv").read_text().splitlines()) == 2


@pytest.mark.deep
@pytest.mark.parametrize(
    ("signals", "code"),
    [
        ([signal.SIGINT, signal.SIGINT], 130),
        ([signal.SIGTERM], 143),
        ([signal.SIGHUP], 129),
        ([signal.SIGKILL], -signal.SIGKILL),
    ],
    ids=["two interrupts", "terminate", "hang up", "kill -9"],
)
def test_a_run_given_up_kills_its_trials(
    write_sweep: Write, signals: list[signal.Signals], code: int
) -> None:
    with Driven(write_sweep(), sleep=60, jobs=2) as run:
        run.trials_begin(1)
        for number in signals:
            run.process.send_signal(number)
            time.sleep(0.2)
        output, _ = run.process.communicate(timeout=30)
        assert run.process.returncode == code, output
        assert "Traceback" not in output
        assert run.done() == set()
        assert _no_orphans(run.folder)
