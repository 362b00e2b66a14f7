"""The page on a network of one's own, as a new user follows it."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "own-network.md").read_text()
FILES = ("own_network.py", "own_network.toml")


def commands() -> list[list[str]]:
    found = re.findall(r"^    ratebp-bench ([^#\n]+)", PAGE, re.M)
    return [shlex.split(text) for text in found]


def test_the_page_shows_the_files_as_they_are() -> None:
    blocks = re.findall(r"```\w+\n(.*?)```", PAGE, re.S)
    assert blocks == [(ROOT / "examples" / name).read_text() for name in FILES]
    assert [words[0] for words in commands()] == ["check", "plan", "run"]


@pytest.mark.deep
def test_the_commands_of_the_page_run_as_written(tmp_path: Path) -> None:
    for name in FILES:
        shutil.copy(ROOT / "examples" / name, tmp_path)
    said = {}
    for words in commands():
        done = subprocess.run(
            [sys.executable, "-P", "-m", "harness.cli", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        said[words[0]] = done.stdout
    assert "head Linear" in said["check"]
    assert "no spikes" in PAGE
    assert "trials: 12 ok" in said["run"]
    assert (tmp_path / "results" / "runs" / "own_network" / "report.html").is_file()
