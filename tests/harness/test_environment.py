"""The fingerprint of machine and code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness import environment


def test_the_fingerprint_is_the_same_in_another_process() -> None:
    code = (
        "import sys, json; from harness import environment as e;"
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


def test_only_what_measures_is_in_the_digest(tmp_path: Path) -> None:
    for name in ("worker.py", "cli.py", "probes/time.py", "data/images.npz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("before")
    start = environment.measuring_digest(tmp_path)
    (tmp_path / "cli.py").write_text("after")
    (tmp_path / "probes" / "__pycache__").mkdir()
    (tmp_path / "probes" / "__pycache__" / "time.pyc").touch()
    assert environment.measuring_digest(tmp_path) == start
    for name in ("worker.py", "probes/time.py", "data/images.npz"):
        before = environment.measuring_digest(tmp_path)
        (tmp_path / name).write_text("after")
        assert environment.measuring_digest(tmp_path) != before


def test_the_measuring_files_exist() -> None:
    root = Path(environment.__file__).parent
    assert [name for name in environment.MEASURING if not (root / name).exists()] == []


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
