"""The local executor against real processes: every way in which a trial can end."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from fakes import WORKER

from harness.errors import StoreError
from harness.outcome import Outcome
from harness.run.executors import TrialStopped
from harness.run.executors.local import LocalExecutor
from harness.run.executors.settings import child_environment, pinned
from harness.spec import TrialSpec

MakeSpec = Callable[..., TrialSpec]
Run = Callable[..., Outcome]


@pytest.fixture
def run(executor: LocalExecutor, make_spec: MakeSpec, tmp_path: Path) -> Run:
    return lambda method, **how: executor.run(make_spec(method, **how), tmp_path / "trial")


def gone(pid: int) -> bool:
    """Whether a process has ended (perhaps unreaped: its new parent may be slow)."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


def test_a_trial_that_ends_well(run: Run) -> None:
    outcome = run("fine")
    assert (outcome.status, outcome.error) == ("ok", None)
    assert [(row.metric, row.values) for row in outcome.rows] == [("mem.live_peak", (3 * 2**20,))]
    assert outcome.facts["threads"] == "1"
    assert 0 < outcome.seconds < 60


def test_malloc_keeps_the_heap_for_timings_and_gives_it_back_for_memory(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MALLOC_PERTURB_", "7")
    timing = {key: value for key, value in run("fine", probe="time").facts.items() if "_" in key}
    memory = {key: value for key, value in run("fine", probe="memory").facts.items() if "_" in key}
    assert timing == {
        "MALLOC_MMAP_MAX_": "0",
        "MALLOC_TRIM_THRESHOLD_": "-1",
        "MALLOC_TOP_PAD_": "268435456",
    }
    assert memory == {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}


def test_on_a_gpu_the_defaults_of_torch_and_the_driver_are_pinned(make_spec: MakeSpec) -> None:
    base = {"PATH": "/bin", "CUBLAS_WORKSPACE_CONFIG": ":16:8", "CUDA_VISIBLE_DEVICES": "1"}
    environment = child_environment(make_spec(device="cuda"), base, "GPU-1234")
    assert pinned(environment) == {
        "PYTORCH_ALLOC_CONF": "expandable_segments:False",
        "CUBLAS_WORKSPACE_CONFIG": ":16:8",  # what the user has set wins
        "CUDA_MODULE_LOADING": "LAZY",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": "GPU-1234",
    }
    assert environment["PATH"] == "/bin"


def test_the_allocator_keeps_a_setting_by_its_older_name(make_spec: MakeSpec) -> None:
    base = {"PYTORCH_CUDA_ALLOC_CONF": "backend:cudaMallocAsync"}
    settings = pinned(child_environment(make_spec(device="cuda"), base))
    assert settings["PYTORCH_CUDA_ALLOC_CONF"] == "backend:cudaMallocAsync"
    assert not {"PYTORCH_ALLOC_CONF", "CUDA_VISIBLE_DEVICES"} & set(settings)


def test_on_a_cpu_nothing_is_said_about_the_gpu(make_spec: MakeSpec) -> None:
    assert pinned(child_environment(make_spec(), {})) == {}


@pytest.mark.parametrize(
    ("method", "status", "words"),
    [
        ("raises", "crash", ["exit code 1", "RuntimeError: the method is broken"]),
        ("segfaults", "crash", ["killed by SIGSEGV"]),
        ("oom", "oom_cuda", ["CUDA out of memory"]),
        ("torn", "crash", ["left no valid answer", "JSONDecodeError"]),
        ("badrow", "crash", ["left no valid answer", "group.quantity"]),
    ],
)
def test_a_trial_that_ends_badly(run: Run, method: str, status: str, words: list[str]) -> None:
    outcome = run(method)
    assert outcome.status == status
    assert not outcome.rows
    for word in words:
        assert word in str(outcome.error)


def test_past_the_deadline_the_whole_group_dies(run: Run, tmp_path: Path) -> None:
    outcome = run("hangs", timeout_s=1.0)
    assert outcome.status == "timeout"
    assert "no result after 1 s" in str(outcome.error)
    assert "hanging" in str(outcome.error)
    pids = [int(pid) for pid in (tmp_path / "trial" / "pids").read_text().split()]
    assert len(pids) == 2
    assert all(map(gone, pids))


def test_what_outlives_its_trial_is_killed(run: Run) -> None:
    outcome = run("outlives")
    assert outcome.status == "ok"
    assert gone(int(outcome.facts["grandchild"]))


def test_the_handshake_lets_the_worker_go_on(run: Run) -> None:
    outcome = run("measures")
    assert outcome.status == "ok"
    assert outcome.facts["heard"] == "\n"


def test_a_gpu_trial_without_a_driver_records_that_fact(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pynvml", None)
    outcome = run("measures", device="cuda")
    assert outcome.status == "ok"
    assert outcome.facts["nvml"].startswith("absent: the module pynvml is missing")


def test_stop_kills_what_runs_and_refuses_more(
    executor: LocalExecutor, make_spec: MakeSpec, tmp_path: Path
) -> None:
    ends: list[str] = []

    def work() -> None:
        try:
            executor.run(make_spec("hangs"), tmp_path / "trial")
        except TrialStopped:
            ends.append("stopped")

    thread = threading.Thread(target=work)
    thread.start()
    pids = tmp_path / "trial" / "pids"
    while not (pids.exists() and len(pids.read_text().split()) == 2):
        time.sleep(0.02)
    executor.stop()
    thread.join(20)
    assert ends == ["stopped"]
    assert all(gone(int(pid)) for pid in pids.read_text().split())
    with pytest.raises(TrialStopped):
        executor.run(make_spec(), tmp_path / "other")


def test_a_command_that_does_not_exist_is_a_crash(make_spec: MakeSpec, tmp_path: Path) -> None:
    outcome = LocalExecutor(["/nonexistent/worker"]).run(make_spec(), tmp_path / "trial")
    assert outcome.status == "crash"
    assert "cannot start /nonexistent/worker" in str(outcome.error)


def test_a_folder_that_cannot_be_made(make_spec: MakeSpec, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot write .*--results"):
        LocalExecutor(WORKER).run(make_spec(), tmp_path / "file" / "trial")


def test_the_trial_is_first_in_line_for_the_kernel(tmp_path: Path, make_spec: MakeSpec) -> None:
    adjust = Path("/proc/self/oom_score_adj")
    if not adjust.exists():
        pytest.skip("needs /proc/self/oom_score_adj (Linux)")
    script = tmp_path / "script.py"
    script.write_text(f"import os\nraise SystemExit(open('{adjust}').read() + str(os.getsid(0)))")
    outcome = LocalExecutor([WORKER[0], str(script)]).run(make_spec(), tmp_path / "trial")
    score, session = str(outcome.error).split()[-2:]
    assert score == "1000"
    assert int(session) != os.getsid(0)
