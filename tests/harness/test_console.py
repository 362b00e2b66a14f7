"""What a run shows: lines, estimates, the closing table."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from fakes import Recorder
from rich.console import Console

from harness.console import offers, progress, tables
from harness.outcome import Outcome
from harness.results.store import Store, Tables
from harness.run.runner import Summary
from harness.spec import TrialSpec
from harness.sweep.catalogue import Catalogue

MakeSpec = Callable[..., TrialSpec]
STARTED = "2024-01-01T00:00:00+00:00"


def _console(width: int = 100, terminal: bool = False) -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, width=width, force_terminal=terminal, color_system=None), text


def _ended(seconds: float, status: str = "ok", error: str | None = None) -> Outcome:
    return Outcome(status, error, started=STARTED, seconds=seconds)


def test_one_line_a_trial(make_spec: MakeSpec) -> None:
    console, text = _console()
    specs = [make_spec(), make_spec("raises", "time")]
    lines = progress.make(console, alone=("time",))
    lines.planned(specs, 5, 2)
    lines.finished(specs[0], _ended(3.14))
    lines.finished(specs[1], _ended(60.0, "crash", "exit code 1:\nTraceback [b]\nValueError"))
    lines.notice("torn [record]")
    assert text.getvalue().splitlines() == [
        "2 trials to measure (3 of 5 are there already), up to 2 side by side where timing allows",
        "[1/2] fine tiny T=2 B=4 memory ok 3.1 s, 3 s left",
        "[2/2] raises tiny T=2 B=4 time crash 60.0 s (exit code 1: ValueError)",
        "note: torn [record]",
    ]


def test_a_line_names_the_axes_that_are_not_the_usual(make_spec: MakeSpec) -> None:
    spec = make_spec()
    spec = replace(spec, cell=replace(spec.cell, operators="cpp"))
    assert progress.line(spec, _ended(1.0)) == "fine tiny T=2 B=4 cpp memory ok 1.0 s"


def test_a_bar_on_a_terminal_prints_only_what_went_wrong(make_spec: MakeSpec) -> None:
    console, text = _console(terminal=True)
    bar = progress.make(console)
    bar.planned([make_spec(), make_spec("raises")], 2, 1)
    bar.finished(make_spec(), _ended(3.0))
    bar.finished(make_spec("raises"), _ended(1.0, "crash", "exit code 1"))
    bar.notice("torn [record]")
    bar.close()
    shown = text.getvalue()
    assert "2/2" in shown
    assert "raises tiny T=2 B=4 memory crash 1.0 s (exit code 1)" in shown
    assert "fine tiny T=2 B=4 memory ok" not in shown
    assert "note: torn [record]" in shown


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("Traceback (most recent call last):\n  File 'x'\nValueError: boom", "ValueError: boom"),
        ('File "trial.py", line 7, in run\n    x()\nValueError: boom', "ValueError: boom"),
        ("exit code 1:\nTraceback [b]\nKeyError: 3", "exit code 1: KeyError: 3"),
        ("killed by SIGSEGV:\nFatal\nExtension modules: numpy", "killed by SIGSEGV"),
        ("loss became nan at update 1", "loss became nan at update 1"),
        ("", "no message"),
    ],
)
def test_an_error_in_one_line(error: str, words: str) -> None:
    assert progress.headline(error) == words


def test_a_bar_may_be_closed_before_it_has_begun() -> None:
    console, _ = _console(terminal=True)
    progress.make(console).close()


def test_the_estimate_goes_by_probe_and_by_what_runs_side_by_side(make_spec: MakeSpec) -> None:
    specs = [make_spec(probe=probe) for probe in ("time", "time", "memory", "memory", "memory")]
    estimate = progress.TimeLeft(specs, jobs=2, alone=("time",))
    assert estimate.seconds() is None
    estimate.finished(specs[0], 10.0)
    assert estimate.seconds() == 10 + 3 * 10 / 2
    estimate.finished(specs[2], 4.0)
    assert estimate.seconds() == 10 + 2 * 4 / 2


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (59.4, "59 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_durations(seconds: float, words: str) -> None:
    assert progress.duration(seconds) == words


Measure = Callable[..., tuple[Summary, Recorder]]


def _rendered(summary: Summary, width: int = 100) -> str:
    console, text = _console(width)
    for part in tables.conclusion(summary):
        console.print(part, soft_wrap=not isinstance(part, tables.Table))
    return text.getvalue()


def test_the_closing_table_has_every_cell_in_100_columns(
    write_sweep: Callable[..., Path], measure: Measure
) -> None:
    methods = ["wide", {"name": "fine", "grad_scale": ["one", "inverse_t"]}, "oom"]
    path = write_sweep(method=methods, probes=["time", "memory", "accuracy"], T=[1, 16])
    summary, _ = measure(path)
    lines = _rendered(summary).splitlines()
    table = lines[: lines.index("trials: 18 ok, 6 oom_cuda")]
    assert max(map(len, table)) <= 100
    assert "model=tiny, data=digits, batch=4" in table[0]
    rows = [line.split() for line in table if line.strip()[:1].isdigit()]
    assert [row[:2] for row in rows] == [
        [T, method]
        for T in ("1", "16")
        for method in ("fine", "fine(grad_scale=inverse_t)", "oom", "wide")
    ]
    assert rows[0] == ["1", "fine", "3.00", "125.00", "375.00", "75.0", "ok"]
    assert "oom_cuda" in " ".join(rows[2])


def test_each_training_budget_has_its_row(
    write_sweep: Callable[..., Path], measure: Measure
) -> None:
    summary, _ = measure(write_sweep(method=["fine"], probes=["accuracy", "time"], T=[1]))
    trials = summary.tables.trials
    again = trials[trials["training"].notna()].assign(trial="f" * 16, training="another budget")
    several = Tables(pd.concat([trials, again]), summary.tables.measurements)
    table = tables.cells(several)
    assert str(table.columns[0].header) == "training"
    assert table.row_count == 3  # the costs, and a row for each budget
    assert tables.cells(summary.tables).row_count == 1


def test_the_conclusion_says_what_failed_and_what_to_do(
    write_sweep: Callable[..., Path], measure: Measure
) -> None:
    summary, _ = measure(write_sweep(method=["fine", "raises"], T=1, probes="memory"))
    text = _rendered(summary)
    assert "trials: 1 ok, 1 crash" in text
    assert f"crash: raises tiny T=1 B=4 memory ({summary.failures[0]})" in text
    assert "RuntimeError: the method is broken" in text
    assert "run the same command again to measure only these anew" in text
    assert str(summary.folder / "trials.csv") in text
    assert "2 measured, 0 kept from before" in text


def test_a_time_out_is_not_said_to_be_measured_again(
    write_sweep: Callable[..., Path], measure: Measure
) -> None:
    path = write_sweep(method=["raises"], T=1, probes=["memory", "time"])
    summary, _ = measure(path)
    for statuses, again in ((["timeout", "timeout"], False), (["timeout", "crash"], True)):
        summary.tables.trials["status"] = statuses
        text = _rendered(summary)
        assert "a time-out stands until the sweep allows more: raise its timeout_s" in text
        assert (
            "run the same command again to measure only these, time-outs aside," in text
        ) is again


def test_a_run_cut_short_before_its_first_record_has_a_conclusion(tmp_path: Path) -> None:
    summary = Summary(tmp_path, Store(tmp_path).tables(), 0, 0, 8, 2.0, stopped=2)
    assert summary.exit_code == 130
    text = _rendered(summary)
    assert "trials: none" in text
    assert "8 trials are missing; the same command goes on there" in text


def test_offers_show_broken_plug_ins_as_rows(offered: Catalogue) -> None:
    console, text = _console()
    for table in offers.KINDS.values():
        console.print(table(offered))
    shown = text.getvalue()
    for word in ("grad_scale: one, inverse_t", "window: 4 (int)", "tiny", "digits", "atan"):
        assert word in shown
    broken = next(line for line in shown.splitlines() if line.strip().startswith("mine.py"))
    assert "broken" in broken
    assert "SyntaxError: line 3" in broken
