"""Worktrees of the sides: their own code, nothing left behind, the checkout untouched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fake_project import Project

from harness.gate.worktrees import SideError, checkouts

# A test run in the background of a shell ignores Ctrl-C, and its children would inherit that.
HOLD = """
import signal, sys, time
from pathlib import Path
from harness.gate.worktrees import checkouts
signal.signal(signal.SIGINT, signal.default_int_handler)
with checkouts("main", None, Path(sys.argv[1])) as sides:
    print(sides.base.folder.parent, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")


def worktrees(project: Project) -> int:
    return len(project.git("worktree", "list").splitlines())


def fail(folder: Path) -> None:
    assert folder.is_dir()
    raise ZeroDivisionError


def snapshot(project: Project) -> dict[str, bytes]:
    return {
        str(path.relative_to(project.folder)): path.read_bytes()
        for path in project.folder.rglob("*")
        if path.is_file() and ".git" not in path.parts
    }


def test_each_side_runs_its_own_code_wherever_it_is_started(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write("ratebp/mark.py", "print('old')")
    project.commit("mark")
    project.write("ratebp/mark.py", "print('new')")
    monkeypatch.chdir(project.folder)  # whose packages must not win
    with checkouts("main", None) as sides:
        said = [
            subprocess.run(side.command("-m", "ratebp.mark"), capture_output=True, text=True).stdout
            for side in (sides.base, sides.again, sides.head)
        ]
    assert said == ["old\n", "old\n", "new\n"]


def test_the_checkout_and_its_index_stay_as_they_are(project: Project) -> None:
    project.write("ratebp/new.py", "x = 1")
    project.write("ratebp/mine.secret", "x = 1")
    project.git("add", "ratebp/new.py")
    project.write("ratebp/new.py", "x = 2")
    before, index = snapshot(project), project.git("status", "--porcelain")
    with checkouts("main", None, project.folder) as sides:
        assert (sides.head.folder / "ratebp" / "new.py").read_text() == "x = 2"
        assert not (sides.head.folder / "ratebp" / "mine.secret").exists()
        assert not (sides.base.folder / "ratebp" / "new.py").exists()
        assert sides.head.commit.endswith("+")
        assert worktrees(project) == 3
        (sides.base.folder / "ratebp" / "__init__.py").write_text("dirty")
    assert worktrees(project) == 1
    assert snapshot(project) == before
    assert project.git("status", "--porcelain") == index


def test_a_head_that_is_named_is_a_commit(project: Project) -> None:
    first = project.git("rev-parse", "HEAD")
    project.change(wide=2.0)
    second = project.commit("second")
    with checkouts(first, "main", project.folder) as sides:
        assert (sides.base.commit, sides.head.commit) == (first[:10], second[:10])
        assert worktrees(project) == 4


def test_nothing_is_left_after_an_error(project: Project) -> None:
    with pytest.raises(ZeroDivisionError), checkouts("main", None, project.folder) as sides:
        fail(folder := sides.base.folder)
    assert worktrees(project) == 1
    assert not folder.parent.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_nothing_is_left_after_a_signal(project: Project, number: int) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(project.folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with child:
        assert child.stdout is not None
        folder = Path(child.stdout.readline().strip())
        assert folder.is_dir()
        child.send_signal(number)
        child.wait(30)
    assert worktrees(project) == 1
    assert not folder.exists()


def test_hooks_of_the_user_do_not_run_and_a_hook_may_call_the_gate(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = project.folder / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    with checkouts("main", None, project.folder):
        pass
    assert not (tmp_path / "ran").exists()


def test_an_unknown_commit_names_the_remedy(project: Project) -> None:
    with (
        pytest.raises(SideError, match=r"no commit 'nowhere'.*git fetch --depth=1 origin nowhere"),
        checkouts("nowhere", None, project.folder),
    ):
        pass


def test_a_commit_without_the_packages_is_refused(project: Project) -> None:
    project.git("rm", "-r", "--quiet", "harness")
    project.commit("no harness")
    with (
        pytest.raises(SideError, match="has no package 'harness'"),
        checkouts("main", None, project.folder),
    ):
        pass
    assert worktrees(project) == 1


def test_outside_a_repository(tmp_path: Path) -> None:
    with pytest.raises(SideError, match="inside a git checkout"), checkouts("a", None, tmp_path):
        pass


def test_code_that_takes_precedence_is_noticed(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        f"import sys; sys.path.insert(0, {str(project.folder)!r})"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with (
        pytest.raises(SideError, match="import other code"),
        checkouts("main", None, project.folder),
    ):
        pass


def test_versions_are_read_without_running_anything(project: Project) -> None:
    with checkouts("main", None, project.folder) as sides:
        assert sides.base.version("reference.py", "REFERENCE_VERSION") == 1
        with pytest.raises(SideError, match=r"no REFERENCE_VERSION in harness/trial/worker\.py"):
            sides.base.version("worker.py", "REFERENCE_VERSION")
        with pytest.raises(SideError, match=r"has 0 files absent\.py in harness"):
            sides.base.version("absent.py", "REFERENCE_VERSION")


def test_a_module_is_found_in_whichever_room_a_side_keeps_it(project: Project) -> None:
    project.git("mv", "harness/trial/worker.py", "harness/worker.py")
    with checkouts("main", None, project.folder) as sides:
        assert sides.base.module("worker.py") == "harness.trial.worker"
        assert sides.head.module("worker.py") == "harness.worker"


def test_settings_reach_the_processes(project: Project) -> None:
    from dataclasses import replace

    with checkouts("main", None, project.folder) as sides:
        side = replace(sides.head, settings=(("MINE", "yes"),))
        code = "import os; print(os.environ['MINE'])"
        done = subprocess.run(side.command("-c", code), capture_output=True, text=True)
    assert done.stdout == "yes\n"
    assert "MINE" not in os.environ
