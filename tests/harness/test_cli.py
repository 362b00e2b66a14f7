"""The command line: exit codes, one message and no traceback, and how little `--help` loads."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake_catalogue
import pytest
from fakes import WORKER
from report_sample import write as write_sample

import harness.report
import harness.run.runner
import harness.sweep.catalogue
from harness import cli
from harness.errors import ReportError
from harness.report import Report
from harness.run.executors.local import LocalExecutor

Write = Callable[..., Path]
MAIN = [sys.executable, "-c", "from harness.cli import main; main()"]


def _shell(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*MAIN, *words], capture_output=True, text=True, cwd=folder, check=False)


def written(folder: Path, *, mix: bool, pictures: list[str]) -> Report:
    shown = tuple(folder / f"memory.{kind}" for kind in pictures)
    return Report(folder / "report.html", ("mixed",) if mix else (), shown)


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Call the command line in this process, with the fake library; (code, output, errors)."""
    offered = harness.sweep.catalogue.parse(fake_catalogue.CATALOGUE)
    monkeypatch.setattr(harness.sweep.catalogue, "load", lambda *_: offered)
    monkeypatch.setattr(
        cli.measure, "_predict", lambda cells: iter(())
    )  # fake methods have no bytes
    monkeypatch.setattr(
        harness.run.runner, "LocalExecutor", lambda **how: LocalExecutor(WORKER, **how)
    )
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["ratebp-bench", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        shown = capsys.readouterr()
        return int(ended.value.code or 0), shown.out, shown.err

    return call


def test_help_and_version_load_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom harness.cli import main\n"
        "try: main()\nexcept SystemExit as end: code = end.code\n"
        "heavy = {'torch', 'pandas', 'plotly', 'numpy', 'ratebp'} & set(sys.modules)\n"
        "sys.exit(code or (f'loaded {heavy}' if heavy else 0))"
    )
    for word in ("--help", "--version"):
        done = subprocess.run(
            [sys.executable, "-c", code, word], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ({"method": "bptt_n"}, ["unknown method 'bptt_n' (did you mean 'bptt_", "rate_m"]),
        ({"modle": "tiny_resnet"}, ["unknown axis 'modle' (did you mean 'model'?)"]),
        ({"T": 0}, ["T: 0 is not legal"]),
        ({"batch": "many"}, ["batch: 'many' is not legal"]),
    ],
    ids=["misspelt method", "unknown axis", "T=0", "batch no number"],
)
def test_a_wrong_sweep_is_one_message_and_exit_code_2(
    write_sweep: Write, tmp_path: Path, axes: dict[str, Any], words: list[str]
) -> None:
    real = {"method": "bptt_m", "model": "tiny_resnet"}
    done = _shell("run", str(write_sweep(**(real | axes))), folder=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: demo.toml: grid 1: ")
    assert len(done.stderr.splitlines()) == 1
    for word in words:
        assert word in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "nowhere.toml"], "no sweep file 'nowhere.toml'"),
        (["report", "nowhere"], "holds no results"),
        (["run", "x", "--device", "gpu"], "'gpu' is not one of"),
        (["run", "x", "--repeats", "0"], "greater than or equal to 1"),
        (["list", "nets"], "'nets' is not one of"),
        (["rum"], "No such command 'rum'"),
    ],
)
def test_wrong_words_give_exit_code_2(
    call: Callable[..., tuple[int, str, str]], words: list[str], message: str
) -> None:
    code, _, errors = call(*words)
    assert code == 2
    assert message in errors
    assert "Traceback" not in errors


def test_run_reports_and_shows(
    call: Callable[..., tuple[int, str, str]],
    write_sweep: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(harness.report, "write", written)
    sweeps = tmp_path / "benchmarks" / "sweeps"
    sweeps.mkdir(parents=True)
    write_sweep().rename(sweeps / "demo.toml")
    code, output, errors = call("run", "demo", "--repeats", "2", "--jobs", "2")
    assert (code, errors) == (0, "")
    assert "16 trials to measure, up to 2 side by side" in output
    assert "[16/16] " in output
    assert "trials: 16 ok" in output
    assert "report: results/runs/demo/report.html" in output
    assert (tmp_path / "results/runs/demo/measurements.csv").exists()


def test_failed_trials_give_exit_code_1_with_table_and_report(
    call: Callable[..., tuple[int, str, str]], write_sweep: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness.report, "write", written)
    path = write_sweep(method=["fine", "raises"], T=1, probes="memory")
    code, output, _ = call("run", str(path), "--results", "elsewhere")
    assert code == 1
    assert "crash: raises tiny" in output
    assert "report: elsewhere/runs/demo/report.html" in output


def test_no_report(
    call: Callable[..., tuple[int, str, str]], write_sweep: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: Path, *, mix: bool, pictures: list[str]) -> None:
        raise ReportError("must not be asked")

    monkeypatch.setattr(harness.report, "write", fail)
    path = write_sweep(T=1, probes="memory")
    assert call("run", str(path), "--no-report")[0] == 0
    code, output, errors = call("run", str(path))
    assert code == 2
    assert errors == "error: must not be asked\n"
    assert "trials: 2 ok" in output


def test_list(call: Callable[..., tuple[int, str, str]]) -> None:
    code, output, _ = call("list", "methods")
    assert code == 0
    assert "grad_scale" in output
    assert "mine.py" in output
    assert "fashion-mini" not in output
    code, output, _ = call("list")
    assert "fashion-mini" in output
    assert "other" in output


def test_a_report_of_what_does_not_belong_together_must_be_asked_for(
    call: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness.report, "write", written)
    assert call("report", "here")[1] == "report: here/report.html\n"
    assert call("report", "here", "--mix")[1] == "note: mixed\nreport: here/report.html\n"
    assert (
        call("report", "here", "--png")[1] == "picture: here/memory.png\nreport: here/report.html\n"
    )


@pytest.mark.parametrize(
    "words", [(), ("here", "--compare", "a", "b"), ("--compare", "a", "b", "--svg")]
)
def test_a_report_is_of_one_run_or_compares_two(
    call: Callable[..., tuple[int, str, str]], words: tuple[str, ...]
) -> None:
    code, _, errors = call("report", *words)
    assert code == 2
    assert "--compare" in errors


def test_plan_counts_a_sweep_without_running_it(
    call: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # the real library answers
    sweep = tmp_path / "small.toml"
    sweep.write_text(
        'name = "small"\n[[grid]]\nprobes = "memory"\nmethod = ["sltt", "saf_e"]\n'
        'model = {name = "tiny_resnet", width = 0.125}\ndata = "digits"\nT = 2\nbatch = 4\n',
        encoding="utf-8",
    )
    done = _shell("plan", str(sweep), "--csv", "figures.csv", folder=tmp_path)
    assert done.stderr == ""
    assert "BatchNorm2d" in done.stdout  # why saf_e is skipped
    assert "mem.live_peak" in (tmp_path / "figures.csv").read_text(encoding="utf-8")


def test_doctor_at_rest_runs_no_trial(tmp_path: Path) -> None:
    done = _shell("doctor", "--processes", "0", folder=tmp_path)
    assert done.returncode in (0, 1)  # the machine decides
    assert done.stderr == ""
    for topic in ("cores", "load", "clocks", "memory", "disk", "commit", "GPU"):
        assert topic in done.stdout
    assert "step noise" not in done.stdout


@pytest.mark.deep
def test_the_gate_has_its_own_exit_codes(
    call: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert call("gate")[0] == 2  # neither tier
    assert call("gate", "--exact", "--time", "HEAD")[0] == 2  # both
    monkeypatch.undo()
    sweep = tmp_path / "gate.toml"
    sweep.write_text(
        '[[grid]]\nprobes = "memory"\nmethod = "sltt"\ndata = "digits"\nT = 2\nbatch = 4\n'
        'model = {name = "tiny_resnet", width = 0.125}\n',
        encoding="utf-8",
    )
    words = ("gate", "--exact", "--sweep", str(sweep), "--baselines", "here")
    assert _shell(*words, folder=tmp_path).returncode == 3  # nothing is recorded
    assert _shell(*words, "--update", folder=tmp_path).returncode == 0
    done = _shell(*words, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("exact gate: fine (exit code 0)\n")


def test_trend_and_export_read_what_a_sweep_left(tmp_path: Path) -> None:
    write_sample(tmp_path / "run", repeats=1)
    kept = _shell("trend", "--add", "run", "--history", "kept", folder=tmp_path)
    assert (kept.returncode, kept.stderr) == (0, "")
    assert len(list((tmp_path / "kept").glob("*.jsonl"))) == 1
    for service in ("github-action-benchmark", "bencher"):
        done = _shell("export", "run", "--format", service, folder=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert "bptt_m" in str(json.loads(done.stdout))
