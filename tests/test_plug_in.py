"""The example method, dropped in as one file, shows up everywhere with no other edit."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ratebp
from harness.report.payload import unpack

ROOT = Path(__file__).parents[1]
SWEEP = """
name = "dropped"
[[grid]]
probes = ["memory"]
method = "all"
model = { name = "tiny_resnet", width = 0.25 }
data = "digits"
T = [1, 2]
batch = 4
"""


def call(*command: str, cwd: Path = ROOT) -> str:
    environment = {**os.environ, "RATEBP_PLUGINS": str(ROOT / "examples" / "last_step.py")}
    done = subprocess.run(
        [sys.executable, *command], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_in_the_list() -> None:
    assert "last_step" in call("-m", "harness.cli", "list", "methods")


@pytest.mark.deep
def test_in_the_contract_tests() -> None:
    out = call("-m", "pytest", "tests/contracts", "-k", "last_step", "-p", "no:cacheprovider")
    (passed,) = re.findall(r"(\d+) passed", out)
    assert int(passed) >= 17
    assert "skipped" not in out


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("dropped")
    (place / "dropped.toml").write_text(SWEEP)
    call("-m", "harness.cli", "run", "dropped.toml", cwd=place)
    return place / "results" / "runs" / "dropped"


@pytest.mark.deep
def test_in_a_sweep_and_its_tables(folder: Path) -> None:
    trials = (folder / "trials.csv").read_text().splitlines()
    assert sum(",last_step," in line for line in trials) == 2
    methods = [ratebp.methods.get(name) for name in ratebp.methods.names()]
    refusing = sum(not method.info.norms for method in methods)  # tiny_resnet has norms
    assert sum(",skipped," in line for line in trials) == 2 * refusing
    assert sum(",ok," in line for line in trials) == 2 * (1 + len(methods) - refusing)


@pytest.mark.deep
def test_in_the_plots(folder: Path) -> None:
    page = (folder / "report.html").read_text()
    block = re.search(r'<script type="application/gzip" id="g0">(.*?)</script>', page, re.S)
    assert block
    figures = re.findall(r'"name":\s*"([^"]+)"', unpack(block[1]))
    assert "last_step" in figures
    assert "bptt_m" in figures
