"""Whole trials on a real device, as a run starts them, and what the driver says of them.

First of this folder: once a test has used CUDA in this process, the driver reports this process as
another program on the device.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from harness.machine import gpu
from harness.outcome import Outcome
from harness.run.executors import driver
from harness.run.executors.local import WORKER, LocalExecutor
from harness.spec import Cell, Choice, TrialSpec

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]

MIB = 2**20
CONTEXT = (64 * MIB, 3072 * MIB)
"""A CUDA context with torch's kernels, on any card."""

SCRATCH = 128 * MIB
"""What operators of so small a network may request for themselves: 32 MiB are cuBLAS's."""

STRANGER = """
import sys, torch
torch.zeros(2**20, device="cuda")
print("ready", flush=True)
sys.stdin.readline()
"""

VISITED = """
import os, pathlib, subprocess, sys, time
mark = pathlib.Path(sys.argv[2]).with_name("stranger")
code = "import os, pathlib, time, torch; torch.zeros(2**20, device='cuda'); "
code += f"pathlib.Path({str(mark)!r}).write_text(str(os.getpid())); time.sleep(120)"
subprocess.run(["setsid", "--fork", sys.executable, "-c", code], check=True)
while not (mark.exists() and mark.read_text()):
    time.sleep(0.1)
os.execv(sys.executable, [sys.executable, "-m", "harness.trial.worker", *sys.argv[1:]])
"""

Run = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def _needs_a_quiet_process() -> None:
    if torch.cuda.is_initialized():
        pytest.skip("this process uses the device already: run tests/gpu by itself")
    with gpu.device() as device:
        if isinstance(device, gpu.Absent):
            pytest.skip(f"NVML does not answer: {device.reason}")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run(probe: str, command: tuple[str, ...] = WORKER, method: str = "bptt_m") -> Outcome:
        model = Choice("tiny_resnet", (("width", 0.25),))
        cell = Cell(Choice(method), model, "synthetic-3x32x32-10", 4, 16, device="cuda")
        spec = TrialSpec("0" * 16, "gpu", cell, probe, 0, 0, 300.0, "e", "c", 1)
        return LocalExecutor(command).run(spec, tmp_path / "trial")

    return run


def rows(outcome: Outcome) -> dict[str, float]:
    assert outcome.status == "ok", outcome.error
    return {row.metric: row.values[0] for row in outcome.rows if row.phase == "step"}


def test_the_driver_and_the_allocator_agree_on_memory(run: Run) -> None:
    outcome = run("memory")
    found, facts = rows(outcome), outcome.facts
    assert {"gpu_before", "gpu_after", "settings", "gpu"} <= set(facts)
    assert "foreign" not in facts
    assert "absent" not in facts["nvml"], facts["nvml"]
    assert found["cuda.requested_peak"] <= found["cuda.allocated_peak"]
    assert found["cuda.allocated_peak"] <= found["cuda.reserved_peak"]
    if facts["nvml"] == "process":
        assert CONTEXT[0] < found["cuda.context_overhead"] < CONTEXT[1]
        held = found["cuda.context_overhead"] + found["cuda.reserved_peak"]
        assert found["nvml.process_peak"] == held
        assert facts["nvml_sampled"]["samples"] > 0
    else:
        assert CONTEXT[0] < found["nvml.device_peak"] - found["cuda.reserved_peak"] < CONTEXT[1]


def test_two_runs_find_the_same_peaks_near_the_exact_count(run: Run) -> None:
    first, second = rows(run("memory")), rows(run("memory"))
    for metric in ("cuda.requested_peak", "cuda.allocated_peak", "mem.live_peak"):
        assert first[metric] == second[metric]
    exact = first["mem.live_peak"] + first["mem.persistent"]
    assert 0 <= first["cuda.requested_peak"] - exact <= SCRATCH


def test_energy_by_the_boards_counter(run: Run) -> None:
    outcome = run("energy")
    if outcome.status == "skipped":
        pytest.skip(f"the device has no energy counter: {outcome.error}")
    found = {row.metric: row.values for row in outcome.rows}
    assert len(found["energy.step"]) >= 5
    facts = outcome.facts
    steps, seconds = facts["steps_per_window"], facts["window_seconds"]
    watts = [j * n / s for j, n, s in zip(found["energy.step"], steps, seconds, strict=True)]
    assert min(seconds) >= 1.0
    assert min(watts) > facts["rest_watts"] / 2
    assert max(watts) < 3000
    assert found["energy.sample"][0] == found["energy.step"][0] / 16


def test_out_of_memory_is_a_result(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTORCH_ALLOC_CONF", "per_process_memory_fraction:0.0001")
    outcome = run("memory")
    assert outcome.status == "oom_cuda", outcome.error
    assert outcome.rows == ()


@pytest.fixture
def stranger() -> Iterator[int]:
    """Another program with a context on the device."""
    with subprocess.Popen(
        [sys.executable, "-c", STRANGER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process.pid
        process.kill()


def test_another_program_is_named_before_a_trial(
    run: Run, stranger: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "IDLE_WAIT_S", 0.5)
    outcome = run("time")
    if "company" in outcome.facts:
        pytest.skip(f"the driver lists no processes: {outcome.facts['company']}")
    assert outcome.status == "invalid"
    assert outcome.facts["foreign"][0]["seen"] == "before the trial"
    assert outcome.seconds == 0.0


def test_another_program_that_comes_during_a_trial_is_named(run: Run, tmp_path: Path) -> None:
    script = tmp_path / "visited.py"
    script.write_text(VISITED)
    try:
        outcome = run("time", (sys.executable, str(script)))
    finally:
        mark = tmp_path / "trial" / "stranger"
        if mark.exists():
            os.kill(int(mark.read_text()), signal.SIGKILL)
    if "company" in outcome.facts:
        pytest.skip(f"the driver lists no processes: {outcome.facts['company']}")
    assert outcome.status == "invalid", outcome.facts
    assert outcome.facts["foreign"]
