"""Whole sweeps through the parent: what a run measures, and what the next one leaves alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from fakes import DRIVE, Recorder

from harness.errors import LockedError, SweepError
from harness.results.store import Store, load
from harness.run.runner import Summary

Write = Callable[..., Path]
LIMIT = (
    "import os, resource, sys; size = int(sys.argv[1]);"
    "resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)); os.execv(sys.argv[2], sys.argv[2:])"
)
Measure = Callable[..., tuple[Summary, Recorder]]


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Counter[str]]:
    """How often the worker was started for each trial."""
    log = tmp_path / "started"
    log.touch()
    monkeypatch.setenv("FAKE_LOG", str(log))
    return lambda: Counter(log.read_text().split())


def test_a_sweep_gives_a_record_a_trial_and_tables(write_sweep: Write, measure: Measure) -> None:
    summary, listener = measure(write_sweep())
    assert summary.exit_code == 0
    assert summary.measured == len(listener.done) == listener.total == 8
    trials = load(summary.folder).trials
    assert sorted(trials["trial"]) == sorted(spec.trial for spec in listener.todo)
    assert set(trials["status"]) == {"ok"}
    assert set(zip(trials["method"], trials["family"], trials["memory_class"], strict=True)) == {
        ("fine", "exact", "linear"),
        ("wide", "rate", "constant"),
    }
    rows = summary.tables.measurements
    assert rows[rows["metric"] == "time.step"]["value"].tolist() == [0.25, 0.5] * 4
    assert len(rows[rows["metric"] == "mem.live_peak"]) == 4


def test_a_record_says_what_where_and_with_which_code(write_sweep: Write, measure: Measure) -> None:
    path = write_sweep("repeats = 1\nseed = 7", T=1, probes="memory", method="fine")
    summary, listener = measure(path)
    spec = listener.todo[0]
    record = json.loads((summary.folder / "trials" / f"{spec.trial}.json").read_text())
    assert record["cell"] == spec.cell.to_json()
    assert (record["status"], record["attempts"], record["order"]) == ("ok", 1, 0)
    assert (record["order_seed"], record["measurement"]) == (7, spec.measurement)
    assert datetime.fromisoformat(record["started"]).tzinfo is not None
    assert record["code"]["digest"] == spec.code
    assert record["code"]["shared"] not in (None, spec.code)
    assert summary.tables.trials["shared_code"].tolist() == [record["code"]["shared"]]
    assert record["facts"]["threads"] == "1"
    assert (summary.folder / "environments" / f"{spec.environment}.json").exists()
    assert not (summary.folder / "logs").exists()


def test_a_second_run_measures_nothing(
    write_sweep: Write, measure: Measure, started: Callable[[], Counter[str]]
) -> None:
    path = write_sweep()
    first, _ = measure(path)
    second, listener = measure(path)
    assert (second.measured, second.kept, second.missing) == (0, 8, 0)
    assert listener.todo == []
    assert set(started().values()) == {1}
    assert second.tables.trials.equals(first.tables.trials)


def test_a_wider_sweep_measures_what_is_new(write_sweep: Write, measure: Measure) -> None:
    measure(write_sweep())
    summary, _ = measure(write_sweep(T=[1, 2, 4]), repeats=2)
    assert (summary.measured, summary.kept) == (2 * 12 - 8, 8)
    assert len(summary.tables.trials) == 24


def test_a_narrower_sweep_leaves_the_rest_out_of_the_tables(
    write_sweep: Write, measure: Measure
) -> None:
    measure(write_sweep())
    summary, _ = measure(write_sweep(T=1))
    assert summary.measured == 0
    assert set(summary.tables.trials["T"]) == {1}


def test_a_torn_record_is_measured_again_with_a_notice(
    write_sweep: Write, measure: Measure
) -> None:
    path = write_sweep()
    first, listener = measure(path)
    victim = first.folder / "trials" / f"{listener.todo[3].trial}.json"
    victim.write_text(victim.read_text()[:100])
    second, listener = measure(path)
    assert second.measured == 1
    assert len(listener.notices) == 1
    assert str(victim) in listener.notices[0]
    assert len(second.tables.trials) == 8


def test_failures_are_rows_and_fail_the_run(
    write_sweep: Write, measure: Measure, started: Callable[[], Counter[str]]
) -> None:
    path = write_sweep(method=["fine", "raises", "oom"], T=1, probes="memory")
    summary, listener = measure(path)
    trials = summary.tables.trials.set_index("method")
    assert trials["status"].to_dict() == {"fine": "ok", "raises": "crash", "oom": "oom_cuda"}
    assert trials["attempts"].to_dict() == {"fine": 1, "raises": 2, "oom": 1}
    assert "the method is broken" in trials.loc["raises", "error"]
    assert summary.exit_code == 1
    assert summary.failures == [trials.loc["raises", "trial"]]
    stderr = summary.folder / "logs" / summary.failures[0] / "stderr.txt"
    assert "RuntimeError" in stderr.read_text()

    again, listener = measure(path)
    assert [spec.cell.method.name for spec, _ in listener.done] == ["raises"]
    assert len(again.tables.trials) == 3
    assert sorted(started().values()) == [1, 1, 4]


def test_a_crash_gets_a_second_chance(
    write_sweep: Write, measure: Measure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FAKE_MARK", str(tmp_path / "mark"))
    summary, _ = measure(write_sweep(method="flaky", T=1, probes="memory"))
    assert summary.exit_code == 0
    assert summary.tables.trials["attempts"].tolist() == [2]


def test_a_trial_that_others_disturb_gets_a_second_chance(
    write_sweep: Write, measure: Measure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FAKE_MARK", str(tmp_path / "mark"))
    summary, _ = measure(write_sweep(method=["disturbed", "diverges"], T=1, probes="memory"))
    trials = summary.tables.trials.set_index("method")
    assert trials["status"].to_dict() == {"disturbed": "ok", "diverges": "invalid"}
    assert trials["attempts"].to_dict() == {"disturbed": 2, "diverges": 1}
    assert summary.failures == [trials.loc["diverges", "trial"]]


@pytest.mark.deep
def test_tables_that_do_not_fit_the_disk_lose_no_record(write_sweep: Write, tmp_path: Path) -> None:
    """A limit on the size of a file, which records keep and the table of them does not."""
    limit = 4096
    sweep = write_sweep(T=list(range(1, 10)))
    command = [*DRIVE, str(sweep), str(tmp_path / "results"), "2"]
    limited = [sys.executable, "-c", LIMIT, str(limit), *command]
    done = subprocess.run(limited, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "error: cannot write" in done.stdout
    assert "trials.csv: File too large; free some space" in done.stdout
    folder = tmp_path / "results" / "runs" / "demo"
    records = {path: path.read_bytes() for path in folder.glob("trials/*.json")}
    assert len(records) == 36
    assert list(folder.rglob("*.part")) == []
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path: path.read_bytes() for path in folder.glob("trials/*.json")} == records
    assert len((folder / "trials.csv").read_text().splitlines()) == 37


def test_a_timeout_stands_until_more_time_is_given(write_sweep: Write, measure: Measure) -> None:
    axes = {"method": "hangs", "T": 1, "probes": "memory"}
    summary, _ = measure(write_sweep("timeout_s = 0.3", **axes))
    assert summary.tables.trials["status"].tolist() == ["timeout"]
    assert summary.exit_code == 1
    summary, _ = measure(write_sweep("timeout_s = 0.3", **axes))
    assert (summary.measured, summary.exit_code) == (0, 1)
    summary, _ = measure(write_sweep("timeout_s = 0.4", **axes))
    assert summary.measured == 1


def test_a_wrong_name_leaves_no_folder(
    write_sweep: Write, measure: Measure, tmp_path: Path
) -> None:
    with pytest.raises(SweepError, match="'fien'"):
        measure(write_sweep(method="fien"))
    assert not (tmp_path / "results").exists()


def test_two_runs_of_one_sweep_do_not_mix(
    write_sweep: Write, measure: Measure, tmp_path: Path
) -> None:
    with (
        Store(tmp_path / "results" / "runs" / "demo").locked(),
        pytest.raises(LockedError, match="another run"),
    ):
        measure(write_sweep())
