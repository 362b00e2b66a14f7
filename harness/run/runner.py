"""Runs a sweep: checks it, measures what is not measured yet, writes the tables.

A trial's id is a hash of what it measures, so "is it done" is "does its file exist": a second run
of the same sweep measures only what is missing, was killed, or failed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from harness.errors import HarnessError
from harness.machine import environment
from harness.outcome import Outcome
from harness.results.store import Store, Tables
from harness.rows import MEASUREMENT_VERSION, SCHEMA_VERSION
from harness.run import forecast
from harness.run.executors import Executor
from harness.run.executors.local import LocalExecutor
from harness.run.forecast import Capacity, Forecast, Predict
from harness.run.provenance import Provenance, here
from harness.run.scheduler import RunListener, Scheduler
from harness.run.trial_order import arrange
from harness.spec import TrialSpec, trial_id
from harness.sweep import catalogue
from harness.sweep.catalogue import Catalogue
from harness.sweep.expand import ask, offered_to
from harness.sweep.file import Sweep, find, read

FAILED: Final = ("crash", "timeout", "invalid")
"""Ends that make the whole run fail; running out of memory is a result."""


@dataclass(frozen=True)
class RunRequest:
    """What the user asked for; None means what the sweep or the machine says."""

    sweep: str
    results: Path = Path("results")
    jobs: int | None = None
    device: str | None = None
    repeats: int | None = None


@dataclass(frozen=True)
class Summary:
    """How a run went.

    `measured` trials got a record now, `kept` had one before, `missing` have none yet; `seconds` is
    the wall time; `stopped` the signal that ended the run early, or None.
    """

    folder: Path
    tables: Tables
    measured: int
    kept: int
    missing: int
    seconds: float
    stopped: int | None

    @property
    def failures(self) -> list[str]:
        """Ids of the trials that ended badly."""
        trials = self.tables.trials
        return [str(trial) for trial in trials.loc[trials["status"].isin(FAILED), "trial"]]

    @property
    def exit_code(self) -> int:
        """0; 1 if trials failed; 128 + signal if one ended the run early."""
        if self.stopped is not None:
            return 128 + self.stopped
        return 1 if self.failures else 0


def run(
    request: RunRequest,
    listener: RunListener,
    *,
    executor: Executor | None = None,
    command: Sequence[str] = catalogue.COMMAND,
    predict: Predict | None = None,
) -> Summary:
    """Measure what a sweep asks for and what is not measured yet, then write the tables.

    Args:
        executor: runs the trials; processes on this machine by default.
        command: prints the library's catalogue.
        predict: gives the exact bytes of cells, so that what cannot fit the device is skipped;
            with None nothing is.

    Raises:
        HarnessError: if the sweep is wrong, or the results folder cannot be used.
    """
    clock = time.monotonic()
    path = find(request.sweep)
    sweep = read(path)
    offered = offered_to(sweep, path.parent, catalogue.load(command))
    provenance = here(offered)
    specs = _trials(sweep, path, request, offered, provenance)
    store = Store(request.results / "runs" / sweep.name)
    with store.locked():
        store.prune()
        store.write_environment(provenance.environment, provenance.fingerprint)
        store.write_plan(_plan(sweep, specs))
        capacity = _capacity(provenance)
        todo = [spec for spec in specs if not _finished(store.record(spec.trial), spec, capacity)]
        for notice in (*store.notices, *offered.failures()):
            listener.notice(notice)
        jobs = request.jobs or environment.usable_cores()
        runs = executor or LocalExecutor(notice=listener.notice)
        scheduler = Scheduler(store, runs, listener, _recorder(sweep, offered, provenance), jobs)
        foreseen = _foreseen(specs, todo, predict, capacity, listener)
        listener.planned(todo, len(specs), jobs)
        _measure(scheduler, foreseen, store, listener)
        store.prune()
        tables = store.write_tables()
    return Summary(
        folder=store.folder,
        tables=tables,
        measured=scheduler.measured,
        kept=len(specs) - len(todo),
        missing=len(todo) - scheduler.measured,
        seconds=time.monotonic() - clock,
        stopped=scheduler.stopped,
    )


def _trials(
    sweep: Sweep, path: Path, request: RunRequest, offered: Catalogue, provenance: Provenance
) -> list[TrialSpec]:
    """Every trial of the sweep, in the order to measure them."""
    questions = ask(
        sweep,
        offered,
        auto_device=provenance.auto_device,
        device=request.device,
        no_cuda=provenance.no_cuda,
        source=path.name,
        folder=path.parent,
    )
    repeats = request.repeats or sweep.repeats
    specs = []
    for order, (question, repeat) in enumerate(arrange(questions, repeats, sweep.seed)):
        own = offered.files(question.cell)
        code = provenance.sources.code(question.cell.method.name, question.probe, own)
        name = trial_id(
            question.cell,
            question.probe,
            repeat,
            code=code,
            environment=provenance.environment,
            measurement=MEASUREMENT_VERSION,
        )
        specs.append(
            TrialSpec(
                trial=name,
                sweep=sweep.name,
                cell=question.cell,
                probe=question.probe,
                repeat=repeat,
                order=order,
                timeout_s=sweep.timeout_s,
                environment=provenance.environment,
                code=code,
                measurement=MEASUREMENT_VERSION,
            )
        )
    return specs


def _plan(sweep: Sweep, specs: Sequence[TrialSpec]) -> dict[str, Any]:
    return {
        "schema": SCHEMA_VERSION,
        "sweep": sweep.model_dump(mode="json"),
        "trials": [spec.trial for spec in specs],
    }


def _capacity(provenance: Provenance) -> Capacity:
    trial = provenance.fingerprint["gpus"].get("trial") or {}
    return {"cpu": environment.available_memory(), "cuda": trial.get("memory")}


def _foreseen(
    specs: Sequence[TrialSpec],
    todo: Sequence[TrialSpec],
    predict: Predict | None,
    capacity: Capacity,
    listener: RunListener,
) -> Forecast:
    """What is predicted to fail; a prediction that cannot be had must not stop the run."""
    try:
        if predict is not None:
            return forecast.make(specs, todo, predict, capacity)
    except HarnessError as error:
        listener.notice(f"no trial is skipped for want of memory, as nothing is predicted: {error}")
    return Forecast(specs, todo, {})


def _measure(scheduler: Scheduler, foreseen: Forecast, store: Store, listener: RunListener) -> None:
    first = foreseen.first(store.record)
    scheduler.measure(first)
    if scheduler.stopped is not None:
        return
    run, skip, notices = foreseen.rest(first, store.record)
    for notice in notices:
        listener.notice(notice)
    for spec, outcome in skip:
        scheduler.skip(spec, outcome)
    scheduler.measure(run)


def _finished(record: Mapping[str, Any] | None, spec: TrialSpec, capacity: Capacity) -> bool:
    """Whether a record answers the question.

    Failures are measured again: their cause may lie outside what the id covers. A time-out stands
    unless the sweep now allows more time, a skip for want of memory unless there is more now.
    """
    if record is None:
        return False
    if record["status"] == "skipped":
        return forecast.stands(record, capacity)
    if record["status"] == "timeout":
        return bool(record["timeout_s"] >= spec.timeout_s)
    return record["status"] not in FAILED


def _recorder(
    sweep: Sweep, offered: Catalogue, provenance: Provenance
) -> Callable[[TrialSpec, Outcome, int], dict[str, Any]]:
    def record(spec: TrialSpec, outcome: Outcome, attempts: int) -> dict[str, Any]:
        method = offered.methods[spec.cell.method.name]
        outcome = _of_recorded_code(outcome, provenance)
        return {
            "schema": SCHEMA_VERSION,
            "measurement": spec.measurement,
            "trial": spec.trial,
            "sweep": spec.sweep,
            "cell": spec.cell.to_json(),
            "family": method.family,
            "memory_class": method.memory,
            "probe": spec.probe,
            "repeat": spec.repeat,
            "order": spec.order,
            "order_seed": sweep.seed,
            "timeout_s": spec.timeout_s,
            "status": outcome.status,
            "error": outcome.error,
            "attempts": attempts,
            "environment": spec.environment,
            "code": {
                "digest": spec.code,
                "shared": provenance.sources.shared,
                "commit": provenance.commit,
                "dirty": provenance.dirty,
            },
            "started": outcome.started,
            "seconds": outcome.seconds,
            "facts": dict(outcome.facts),
            "rows": [row.to_json() for row in outcome.rows],
        }

    return record


def _of_recorded_code(outcome: Outcome, provenance: Provenance) -> Outcome:
    """Refuse a figure of code that has been edited since the trial got its id."""
    changed = provenance.sources.changed()
    if not changed:
        return outcome
    why = (
        f"{changed[0]} was edited while the run was on, so nobody knows which code this trial ran; "
        "run the same command again: its trials are those of the code as it is then"
    )
    return replace(outcome, status="invalid", error=why, rows=())
