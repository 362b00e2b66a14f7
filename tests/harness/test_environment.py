"""The fingerprint of machine and code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.machine import environment
from harness.run.executors.settings import GPU


def test_the_fingerprint_is_the_same_in_another_process() -> None:
    code = (
        "import sys, json; from harness.machine import environment as e;"
        "f = e.fingerprint({'names': []});"
        "print(json.dumps([e.fingerprint_hash(f), 'torch' in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    here = environment.fingerprint_hash(environment.fingerprint({"names": []}))
    assert json.loads(done.stdout) == [here, False]


def test_the_fingerprint_holds_machine_and_software() -> None:
    found = environment.fingerprint({"names": ["Imaginary GPU"]})
    assert json.loads(json.dumps(found)) == found
    assert found["packages"]["torch"]
    assert found["cpu"]
    assert found["gpus"] == {"names": ["Imaginary GPU"]}


def test_what_changes_figures_changes_the_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    def now(names: tuple[str, ...] = ()) -> str:
        return environment.fingerprint_hash(environment.fingerprint({"names": list(names)}))

    monkeypatch.delenv("PYTORCH_ALLOC_CONF", raising=False)
    before = now()
    assert now(("Imaginary GPU",)) != before
    monkeypatch.setenv("PYTORCH_ALLOC_CONF", "expandable_segments:True")
    assert now() != before


def test_the_build_of_torch_is_read_not_imported() -> None:
    import torch

    expected = f"cuda {torch.version.cuda}" if torch.version.cuda else "cpu"
    assert environment.torch_build() == expected


def test_the_commit_of_a_checkout(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        done = subprocess.run(
            ["git", "-C", str(tmp_path), *identity, *words],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    git("init", "--quiet")
    tracked, other = tmp_path / "tracked", tmp_path / "other"
    for folder in (tracked, other):
        folder.mkdir()
        (folder / "file.py").touch()
    assert environment.commit(tracked) == (None, None)
    git("add", "tracked")
    git("commit", "--quiet", "--message", "start")
    assert environment.commit(tracked) == (git("rev-parse", "HEAD"), False)
    assert environment.commit(other) == (None, None)
    (tracked / "file.py").write_text("changed")
    assert environment.commit(tracked) == (git("rev-parse", "HEAD"), True)


def test_no_git_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment.commit() == (None, None)


def test_there_is_a_core_to_use() -> None:
    assert environment.usable_cores() >= 1


def _system(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


GIB = 2**30
V2 = {"proc/self/cgroup": "0::/box\n"}
V1 = {"proc/self/cgroup": "4:memory:/box\n0::/\n"}


@pytest.mark.parametrize(
    ("files", "limit", "left"),
    [
        ({}, None, None),
        ({**V2, "sys/fs/cgroup/box/memory.max": "max\n"}, None, None),
        (
            {
                **V2,
                "sys/fs/cgroup/box/memory.max": "1048576",
                "sys/fs/cgroup/box/memory.current": "500000",
                "sys/fs/cgroup/box/memory.stat": "anon 1\ninactive_file 100000\n",
            },
            1048576,
            1048576 - 400000,
        ),
        (
            {
                **V1,
                "sys/fs/cgroup/memory/box/memory.limit_in_bytes": "4096",
                "sys/fs/cgroup/memory/box/memory.usage_in_bytes": "9000",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": str(2**63),
            },
            4096,
            0,
        ),
    ],
    ids=["no groups", "no limit", "v2", "v1, over its limit"],
)
def test_memory_that_a_trial_can_have(
    tmp_path: Path, files: dict[str, str], limit: int | None, left: int | None
) -> None:
    root = _system(tmp_path, files)
    assert environment.memory_limit(root) == limit
    if left is None:
        assert GIB / 64 < environment.available_memory(root) < 2**50
    else:
        assert environment.available_memory(root) == left


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({"sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        ({"sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
        (
            {
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            2.0,
        ),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n"}, None),
    ],
)
def test_processors_that_the_group_allows(
    tmp_path: Path, files: dict[str, str], quota: float | None
) -> None:
    assert environment.cpu_quota(_system(tmp_path, files)) == quota


def test_what_a_gpu_trial_is_started_with_is_in_the_fingerprint() -> None:
    """A user's own value wins over the one that a trial is given, so it must be recorded."""
    assert set(GPU) <= set(environment.SETTINGS)


def test_the_compiler_is_the_one_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = tmp_path / "some-c++"
    named.write_text("#!/bin/sh\necho 'some compiler 1.2'\necho 'no warranty'\n")
    named.chmod(0o755)
    monkeypatch.setenv("CXX", str(named))
    assert environment.compiler() == "some compiler 1.2"
    monkeypatch.setenv("CXX", f"env LC_ALL=C '{named}' -pipe")
    assert environment.compiler() == "some compiler 1.2"
    monkeypatch.setenv("CXX", "'g++")
    assert environment.compiler() is None
    monkeypatch.setenv("CXX", str(named))
    named.write_text("#!/bin/sh\nexit 1\n")
    assert environment.compiler() is None
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert environment.compiler() is None
