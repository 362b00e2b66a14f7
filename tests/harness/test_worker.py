"""The worker's protocol, in real processes and with a stand-in for the trial."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.outcome import Outcome
from harness.rows import Row
from harness.spec import Choice, TrialSpec
from harness.trial import trial, worker

MakeSpec = Callable[..., TrialSpec]
ROWS = (Row("mem.live_peak", "step", "B", "exact", (3,)),)


@pytest.fixture
def real_spec(make_spec: MakeSpec) -> TrialSpec:
    spec = make_spec("bptt_m")
    model = Choice.make("tiny_resnet", {"width": 0.5})
    plain = spec.to_json()
    plain["cell"]["model"] = {"name": model.name, "options": dict(model.options)}
    return TrialSpec.from_json(plain)


def write(spec: TrialSpec, folder: Path) -> list[str]:
    (folder / "spec.json").write_text(json.dumps(spec.to_json()))
    return [str(folder / "spec.json"), str(folder / "out.json")]


def test_a_trial_from_file_to_file(real_spec: TrialSpec, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "harness.trial.worker", *write(real_spec, tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout) == (0, ""), run.stderr
    answer = json.loads((tmp_path / "out.json").read_text())
    assert set(answer) == {"status", "error", "rows", "facts"}
    assert (answer["status"], answer["error"]) == ("ok", None)
    assert "mem.live_peak" in {Row.from_json(row).metric for row in answer["rows"]}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.json", "spec.json"]


def test_a_trial_through_a_pipe(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(trial, "run", lambda spec, measured, alone: Outcome("ok", None, ROWS))
    spec = make_spec(device="cuda")
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(spec.to_json())))
    assert worker.main(["-", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == [ROWS[0].to_json()]


@pytest.mark.parametrize("probe_says_so", [True, False])
def test_on_a_gpu_the_parent_is_asked_to_read_the_driver_once(
    probe_says_so: bool,
    make_spec: MakeSpec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(spec: TrialSpec, measured: Callable[[], None], alone: Callable[[], None]) -> Outcome:
        if probe_says_so:
            measured()
        return Outcome("ok", None, ROWS)

    monkeypatch.setattr(trial, "run", run)
    monkeypatch.setattr("sys.stdin", io.StringIO("\nnot to be read\n"))
    assert worker.main(write(make_spec(device="cuda"), tmp_path)) == 0
    assert capsys.readouterr().out == "measured\n"
    assert sys.stdin.readline() == "not to be read\n"


def test_a_failed_trial_is_an_answer_too(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "run", lambda spec, measured, alone: Outcome("oom_host", "full"))
    assert worker.main(write(make_spec(), tmp_path)) == 0
    answer = json.loads((tmp_path / "out.json").read_text())
    assert answer == {"status": "oom_host", "error": "full", "rows": [], "facts": {}}


def test_wrong_arguments_are_explained(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        worker.main(["one"])
    assert stop.value.code == 2
    assert "usage: python -m harness.trial.worker" in capsys.readouterr().err
