"""What the driver says of trials on a GPU: real processes, a stand-in for the driver."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import fake_nvml
import psutil
import pytest
from fake_nvml import GIB, FakeNvml

from harness.machine import gpu
from harness.outcome import Outcome
from harness.run.executors import TrialStopped, driver
from harness.run.executors.local import LocalExecutor
from harness.spec import TrialSpec

STRANGER = 2**22 + 1
"""A process id that Linux does not give."""

WORKER = """
import json, os, pathlib, sys, time
spec = json.loads(pathlib.Path(sys.argv[1]).read_text())
time.sleep(0.4)
print("measured", flush=True)
sys.stdin.readline()
rows = [{"metric": "cuda.reserved_peak", "phase": "step", "unit": "B", "kind": "banded",
         "values": [2**30]}]
status = {"oom": "oom_cuda", "refused": "skipped"}.get(spec["cell"]["method"]["name"], "ok")
answer = {"status": status, "error": None, "rows": rows if status == "ok" else [],
          "facts": {"sees": os.environ["CUDA_VISIBLE_DEVICES"]}}
pathlib.Path(sys.argv[2]).write_text(json.dumps(answer))
"""

Run = Callable[..., Outcome]


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeNvml:
    """One board where trials, and nobody else, use 3 GiB."""
    fake = FakeNvml()
    fake.boards[0].processes = lambda: [(pid, 3 * GIB) for pid in trials()]
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(driver, "IDLE_WAIT_S", 0.5)
    return fake


@pytest.fixture
def run(make_spec: Callable[..., TrialSpec], tmp_path: Path) -> Run:
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    executor = LocalExecutor([sys.executable, str(script)], grace_s=0.3)

    def run(method: str = "fine", probe: str = "memory") -> Outcome:
        return executor.run(make_spec(method, probe, device="cuda"), tmp_path / "trial")

    return run


def trials() -> list[int]:
    """The children that run `WORKER`: other tests may have left helpers of their own alive."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if any(word.endswith("/worker.py") for word in child.cmdline()):
                found.append(child.pid)
    return found


def figures(outcome: Outcome) -> dict[str, float]:
    rows = [row for row in outcome.rows if row.metric != "cuda.reserved_peak"]
    assert all((row.unit, row.kind, row.phase) == ("B", "banded", "step") for row in rows)
    return {row.metric: row.values[0] for row in rows}


def test_a_trial_gets_the_figure_of_its_process(nvml: FakeNvml, run: Run) -> None:
    outcome = run()
    assert outcome.status == "ok"
    assert figures(outcome) == {"nvml.process_peak": 3 * GIB, "cuda.context_overhead": 2 * GIB}
    facts = outcome.facts
    assert facts["nvml"] == "process"
    assert facts["gpu"] == facts["sees"] == nvml.boards[0].uuid
    assert facts["settings"]["CUDA_VISIBLE_DEVICES"] == nvml.boards[0].uuid
    assert facts["gpu_before"]["temperature_c"] == facts["gpu_after"]["temperature_c"] == 41
    assert "foreign" not in facts
    assert nvml.open == 0


def test_samples_while_it_ran_stand_beside_the_last_reading(nvml: FakeNvml, run: Run) -> None:
    facts = run().facts
    assert facts["nvml_sampled"]["peak"] == 3 * GIB
    assert facts["nvml_sampled"]["samples"] >= 1
    assert "nvml_disagrees" not in facts


def test_a_peak_that_had_gone_at_the_last_reading_is_told(nvml: FakeNvml, run: Run) -> None:
    sizes = iter([5 * GIB])
    nvml.boards[0].processes = lambda: [(pid, next(sizes, 3 * GIB)) for pid in trials()]
    outcome = run()
    assert figures(outcome)["nvml.process_peak"] == 3 * GIB
    assert outcome.facts["nvml_sampled"]["peak"] == 5 * GIB
    assert "more than 2% apart" in outcome.facts["nvml_disagrees"]


def test_only_memory_trials_are_sampled_and_get_rows(nvml: FakeNvml, run: Run) -> None:
    outcome = run(probe="time")
    assert outcome.status == "ok"
    assert figures(outcome) == {}
    assert not {"nvml", "nvml_sampled"} & set(outcome.facts)
    assert outcome.facts["gpu_after"]["sm_mhz"] == 1900


def test_a_process_by_another_id_is_the_trial_if_it_is_alone(nvml: FakeNvml, run: Run) -> None:
    nvml.boards[0].processes = lambda: [(STRANGER, 3 * GIB) for _ in trials()]
    outcome = run()
    assert outcome.status == "ok"
    assert figures(outcome)["nvml.process_peak"] == 3 * GIB
    assert str(STRANGER) in outcome.facts["driver_pids"]
    assert "foreign" not in outcome.facts


@pytest.mark.parametrize("listed", [True, False])
def test_without_figures_by_process_an_idle_device_stands_in(
    nvml: FakeNvml, run: Run, listed: bool
) -> None:
    board = nvml.boards[0]

    def withheld() -> list[tuple[int, int | None]]:
        board.used = 5 * GIB if trials() else 2 * GIB
        return [(pid, None) for pid in trials() if listed]

    board.processes = withheld
    outcome = run()
    assert outcome.facts["nvml"].startswith("device: the driver ")
    assert figures(outcome) == {"nvml.device_peak": 3 * GIB}


def test_where_the_processes_are_secret_there_is_no_figure(nvml: FakeNvml, run: Run) -> None:
    nvml.failing["nvmlDeviceGetComputeRunningProcesses"] = fake_nvml.NO_PERMISSION
    outcome = run()
    assert outcome.status == "ok"
    assert figures(outcome) == {}
    assert "Insufficient Permissions" in outcome.facts["nvml"]
    assert outcome.facts["company"].startswith("unknown: NVMLError_NoPermission")


def test_a_figure_below_what_torch_holds_is_refused(nvml: FakeNvml, run: Run) -> None:
    nvml.boards[0].processes = lambda: [(pid, GIB // 2) for pid in trials()]
    outcome = run()
    assert figures(outcome) == {}
    assert "are less than torch's" in outcome.facts["nvml"]


def test_no_driver_is_a_fact(nvml: FakeNvml, run: Run) -> None:
    nvml.driver_error = fake_nvml.LIBRARY_NOT_FOUND
    outcome = run()
    assert outcome.status == "ok"
    assert outcome.facts["nvml"].startswith("absent: NVMLError_LibraryNotFound")
    assert outcome.facts["sees"] == "0"


def test_a_busy_device_is_not_measured_on(nvml: FakeNvml, run: Run, tmp_path: Path) -> None:
    nvml.boards[0].processes = lambda: [(STRANGER, GIB)]
    outcome = run()
    assert (outcome.status, outcome.seconds) == ("invalid", 0.0)
    assert f"process {STRANGER}" in str(outcome.error)
    assert "CUDA_VISIBLE_DEVICES" in str(outcome.error)
    assert outcome.facts["foreign"][0]["seen"] == "before the trial"
    assert not (tmp_path / "trial" / "out.json").exists()


def test_what_the_last_trial_left_may_fade(nvml: FakeNvml, run: Run) -> None:
    fading = [[(STRANGER, GIB)], [(STRANGER, GIB)]]
    nvml.boards[0].processes = lambda: (
        fading.pop() if fading else [(pid, 3 * GIB) for pid in trials()]
    )
    assert run().status == "ok"


@pytest.mark.parametrize("method", ["fine", "oom"])
def test_company_during_the_trial_makes_it_invalid(nvml: FakeNvml, run: Run, method: str) -> None:
    nvml.boards[0].processes = lambda: [
        (pid, GIB) for child in trials() for pid in (child, STRANGER)
    ]
    outcome = run(method, probe="time")
    assert outcome.status == "invalid"
    assert not outcome.rows
    assert outcome.facts["foreign"] == [
        {"pid": STRANGER, "name": "not of this container, or ended", "seen": "during the trial"}
    ]


def test_company_among_ids_that_are_not_ours(nvml: FakeNvml, run: Run) -> None:
    hidden = [(STRANGER, GIB), (STRANGER + 1, GIB)]
    nvml.boards[0].processes = lambda: hidden if trials() else []
    outcome = run()
    assert outcome.status == "invalid"
    assert [entry["pid"] for entry in outcome.facts["foreign"]] == [STRANGER, STRANGER + 1]


def test_company_that_came_and_went_is_seen_by_the_samples(nvml: FakeNvml, run: Run) -> None:
    visits = [[(STRANGER, GIB)]]
    nvml.boards[0].processes = lambda: (
        [(pid, 3 * GIB) for pid in trials()] + (visits.pop() if trials() and visits else [])
    )
    assert run().facts["foreign"][0]["seen"] == "during the trial"


def test_company_after_the_trial_may_have_come_before_its_end(nvml: FakeNvml, run: Run) -> None:
    seen: list[int] = []

    def processes() -> list[tuple[int, int | None]]:
        seen.extend(trials())
        return [(pid, GIB) for pid in trials() or ([STRANGER] if seen else [])]

    nvml.boards[0].processes = processes
    outcome = run()
    assert outcome.status == "invalid"
    assert outcome.facts["foreign"][0]["seen"] == "after the trial"


def test_company_does_not_change_what_is_no_figure(nvml: FakeNvml, run: Run) -> None:
    nvml.boards[0].processes = lambda: [
        (pid, GIB) for child in trials() for pid in (child, STRANGER)
    ]
    outcome = run("refused")
    assert outcome.status == "skipped"
    assert outcome.facts["foreign"]


@pytest.mark.parametrize(("probe", "clocked"), [("time", True), ("memory", False)])
def test_throttling_is_a_fact_of_timings(
    nvml: FakeNvml, run: Run, probe: str, clocked: bool
) -> None:
    nvml.boards[0].reasons = 0x8
    nvml.boards[0].sm = 900
    facts = run(probe=probe).facts
    assert facts["gpu_after"]["throttle"] == ("hw_slowdown",)
    assert facts.get("throttled") == (["hw_slowdown"] if clocked else None)
    assert facts.get("slow_clock") == ("900 of 1800 MHz by default" if clocked else None)


def test_a_trial_waits_for_another_run_to_leave_its_gpu(
    nvml: FakeNvml, make_spec: Callable[..., TrialSpec], tmp_path: Path
) -> None:
    notices: list[str] = []

    def notice(text: str) -> None:
        notices.append(text)
        executor.stop()

    executor = LocalExecutor(["unused"], notice=notice)
    with gpu.exclusive(nvml.boards[0].uuid, pytest.fail), pytest.raises(TrialStopped):
        executor.run(make_spec(device="cuda"), tmp_path / "trial")
    assert notices == ["another run measures on this GPU; waiting for its trial to end"]
    assert nvml.open == 0
