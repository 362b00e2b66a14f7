"""Telling an out-of-memory kill from another one, on made-up system files."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from harness.run.executors.outcomes import judge, oom_kills, tail

V2 = "0::/box\n"
V1 = "9:name=systemd:/\n4:memory,hugetlb:/box\n0::/\n"
EVENTS = "low 0\nhigh 0\nmax 5\noom 2\noom_kill 3\n"


def _system(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "count"),
    [
        ({"proc/self/cgroup": V2, "sys/fs/cgroup/box/memory.events": EVENTS}, 3),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.events": EVENTS}, 3),
        (
            {
                "proc/self/cgroup": V1,
                "sys/fs/cgroup/memory/box/memory.oom_control": "under_oom 0\noom_kill 7\n",
            },
            7,
        ),
        ({"proc/vmstat": "nr_free_pages 1\noom_kill 2\n"}, 2),
        ({}, 0),
    ],
    ids=["v2", "v2 in a container", "v1", "whole machine", "nothing readable"],
)
def test_the_kernels_count_of_kills(tmp_path: Path, files: dict[str, str], count: int) -> None:
    assert oom_kills(_system(tmp_path, files)) == count


def test_the_count_of_this_machine_can_be_read() -> None:
    assert oom_kills() >= 0


@pytest.mark.parametrize(
    ("code", "killed", "status"),
    [
        (-signal.SIGKILL, True, "oom_host"),
        (-signal.SIGKILL, False, "crash"),
        (-signal.SIGABRT, True, "crash"),
    ],
)
def test_only_a_kill_that_the_kernel_counted_is_out_of_memory(
    tmp_path: Path, code: int, killed: bool, status: str
) -> None:
    nothing = tmp_path / "nothing"
    assert judge(code, nothing, nothing, late_s=None, oom_killed=killed).status == status


def test_an_unknown_status_is_a_crash(tmp_path: Path) -> None:
    answer = tmp_path / "out.json"
    answer.write_text('{"status": "fine", "error": null, "rows": [], "facts": {}}')
    verdict = judge(0, answer, answer, late_s=None, oom_killed=False)
    assert verdict.status == "crash"
    assert "'fine' is not one of ok, crash" in str(verdict.error)


def test_the_tail_is_the_last_lines(tmp_path: Path) -> None:
    path = tmp_path / "stderr.txt"
    path.write_text("\n".join(f"line {number}" for number in range(5000)))
    assert tail(path).splitlines()[1:] == [f"line {number}" for number in range(4988, 5000)]
    assert tail(tmp_path / "nothing") == ""
