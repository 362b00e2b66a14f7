"""Figures of a sweep, the history of files, and the steps of a history with their commits."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from report_sample import write

from harness.errors import StoreError
from harness.results import stats
from harness.results.store import Tables, load
from harness.trend import history, moves
from harness.trend.figures import HEADLINES, Figure, summarise

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    folder = tmp_path_factory.mktemp("sample")
    write(folder, repeats=3, methods=("bptt_m", "rate_m"))
    return load(folder)


def figure(value: float, commit: str | None = "a" * 40, environment: str = "e" * 12) -> Figure:
    return Figure("rate_m / net", "mem.live_peak", "step", "B", "exact", value, value, value, 1,
                  environment, 2, commit)  # fmt: skip


def test_figures_are_medians_over_processes_of_the_headline_metrics(tables: Tables) -> None:
    found = summarise(tables)
    assert {(each.metric, each.phase) for each in found} <= set(HEADLINES)
    (step,) = (
        each
        for each in found
        if each.metric == "time.step"
        and each.cell == "rate_m / tiny_resnet / fashion-mini / T=4 / batch=32 / float32 / cpu"
    )
    rows = tables.measurements.merge(tables.trials, on="trial")
    rows = rows[(rows["metric"] == "time.step") & (rows["method"] == "rate_m") & (rows["T"] == 4)]
    processes = [group.to_numpy() for _, group in rows.groupby("trial")["value"]]
    expected = stats.summarise(processes)
    assert (step.value, step.low, step.high) == (expected.value, expected.low, expected.high)
    assert (step.processes, step.unit, step.commit) == (3, "s", "f" * 40)


def test_trials_that_did_not_end_well_have_no_figure(tables: Tables) -> None:
    broken = Tables(tables.trials.assign(status="crash"), tables.measurements)
    assert summarise(broken) == []


def test_one_file_a_run_that_comes_back_as_series(tmp_path: Path) -> None:
    for day, value in enumerate((100.0, 101.0, 150.0)):
        history.add([figure(value, f"{day}" * 40)], START + timedelta(days=day), tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names[1] == "2026-01-02T000000Z-1111111111-eeeeeeeeeeee.jsonl"
    (series,) = history.read(tmp_path)
    assert series.values == (100.0, 101.0, 150.0)
    assert series.commits == ("0" * 10, "1" * 10, "2" * 10)
    assert series.dates[0] == "2026-01-01T000000Z"


def test_a_sweep_is_kept_under_the_time_of_its_last_trial(tables: Tables, tmp_path: Path) -> None:
    (path,) = history.keep(tables, tmp_path)
    assert path.name == "2026-01-02T030405Z-ffffffffff-0123456789ab.jsonl"
    assert len(path.read_text().splitlines()) == len(summarise(tables))
    kept = {(each.cell, each.metric): each.values for each in history.read(tmp_path)}
    assert kept == {(each.cell, each.metric): (each.value,) for each in summarise(tables)}
    empty = Tables(tables.trials.iloc[:0], tables.measurements)
    with pytest.raises(StoreError, match="no figure to keep"):
        history.keep(empty, tmp_path)


def test_environments_measurements_and_metrics_make_series_of_their_own(tmp_path: Path) -> None:
    figures = [
        figure(1.0),
        figure(1.0, environment="f" * 12),
        replace(figure(1.0), measurement=3),
        replace(figure(1.0), metric="ops.count", unit="1"),
        replace(figure(1.0), cell="other"),
    ]
    paths = history.add(figures, START, tmp_path)
    assert len(paths) == 2
    assert len(history.read(tmp_path)) == 5


def test_what_a_newer_version_adds_is_ignored(tmp_path: Path) -> None:
    (path,) = history.add([figure(7.0, commit=None)], START, tmp_path)
    assert "-no-commit-" in path.name
    plain = json.loads(path.read_text())
    path.write_text(json.dumps(plain | {"novelty": 1}) + "\n")
    assert history.read(tmp_path)[0].values == (7.0,)


@pytest.mark.parametrize("text", ["{torn", '{"cell": "a"}', "[1]"])
def test_a_damaged_file_is_named_with_the_remedy(tmp_path: Path, text: str) -> None:
    (tmp_path / "2026-01-01T000000Z-a-b.jsonl").write_text(text)
    with pytest.raises(StoreError, match=r"a-b\.jsonl is damaged .*git checkout"):
        history.read(tmp_path)


def test_nothing_to_keep_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no figure to keep"):
        history.add([], START, tmp_path)


def test_an_empty_history_has_no_series(tmp_path: Path) -> None:
    assert history.read(tmp_path / "absent") == []


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=Tester", "-c", "user.email=tester@example.org")
    done = subprocess.run(
        ["git", "-C", str(folder), *who, *words], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_a_step_names_the_commits_between_its_neighbours(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    commits = []
    for number in range(8):
        git(tmp_path, "commit", "--quiet", "--allow-empty", "--message", f"change {number}")
        commits.append(git(tmp_path, "rev-parse", "HEAD"))
    kept = tmp_path / "history"
    measured = [0, 1, 2, 5, 6, 7]  # nobody measured changes 3 and 4
    for day, number in enumerate(measured):
        value = 100.0 if number < 4 else 120.0
        history.add([figure(value, commits[number])], START + timedelta(days=day), kept)
    (move,) = moves.find(history.read(kept), tmp_path)
    assert [line.partition(" ")[2] for line in move.commits] == ["change 5", "change 4", "change 3"]
    assert (move.last, move.first) == (commits[2][:10], commits[5][:10])
    assert move.words == f"+20.0% since 2026-01-04T000000Z ({commits[5][:10]})"


def test_commits_that_git_does_not_know_are_left_out_and_zeros_have_no_steps(
    tmp_path: Path,
) -> None:
    for day in range(6):
        value = 100.0 if day < 3 else 120.0
        figures = [figure(value, "a" * 40), replace(figure(0.0), metric="ops.flops", unit="FLOP")]
        history.add(figures, START + timedelta(days=day), tmp_path)
    (move,) = moves.find(history.read(tmp_path), tmp_path)
    assert move.commits == ()
    assert move.series.metric == "mem.live_peak"


def test_the_largest_move_comes_first(tmp_path: Path) -> None:
    for day in range(6):
        late = day >= 3
        figures = [
            figure(110.0 if late else 100.0),
            replace(figure(50.0 if late else 100.0), cell="better"),
        ]
        history.add(figures, START + timedelta(days=day), tmp_path)
    assert [move.series.cell for move in moves.find(history.read(tmp_path))] == [
        "better",
        "rate_m / net",
    ]
