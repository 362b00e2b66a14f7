"""docs/performance.md holds what is recorded, and its commands exist."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest

from harness.gate.baseline import environment

ROOT = Path(__file__).parents[2]
REMEDY = "docs/performance.md is stale: run `python scripts/performance_table.py`"


@pytest.fixture
def generator(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module("performance_table")


def test_the_page_holds_what_is_recorded(generator: ModuleType) -> None:
    folder = generator.RECORDED / environment()
    if not folder.is_dir():
        pytest.skip(f"nothing is recorded for {environment()}, so there is nothing to compare")
    page = generator.PAGE.read_text()
    assert generator.filled(page, generator.recorded(folder)) == page, REMEDY


def test_a_figure_that_moved_shows(generator: ModuleType) -> None:
    (folder,) = generator.RECORDED.iterdir()
    found = generator.recorded(folder)
    page = generator.PAGE.read_text()
    before = generator.filled(page, found)
    found["resnet18", "sltt", 4] = (
        found["resnet18", "sltt", 4][0] + 2**20,
        *found["resnet18", "sltt", 4][1:],
    )
    after = generator.filled(before, found)
    assert after != before
    assert "| `sltt` |" in after
    assert generator.filled(after, found) == after


def test_a_missing_marker_is_an_error(generator: ModuleType) -> None:
    (folder,) = generator.RECORDED.iterdir()
    with pytest.raises(ValueError, match="has 0 parts between"):
        generator.filled("nothing", generator.recorded(folder))


def test_targets_are_judged_by_the_figures(generator: ModuleType) -> None:
    (folder,) = generator.RECORDED.iterdir()
    found = generator.recorded(folder)
    found["resnet18", "bptt_m", 4] = (189 * 2**20, 12 * 10, 4 * 10)
    found["resnet18", "bptt_s", 4] = (190 * 2**20, 13 * 10, 4 * 10)
    rows = {row[1]: row for row in generator.targets(found)}
    assert rows["`bptt_m`"][6:] == ["met", "12.0", "12"]
    assert rows["`bptt_s`"][6:] == ["1.00 times", "13.0", "12: exceeded"]
    found["resnet18", "sltt", 8] = found["resnet18", "sltt", 4]
    found["resnet18", "ottt_a", 8] = (found["resnet18", "ottt_a", 4][0] + 1, 1, 1)
    steady = {row[0]: row[-1] for row in generator.constant(found)}
    assert steady["`sltt`"] == "yes"
    assert steady["`ottt_a`"] == "no"


def test_every_command_of_the_page_names_a_module_that_exists() -> None:
    page = (ROOT / "docs" / "performance.md").read_text()
    modules = set(re.findall(r"python -m (benchmarks[.\w]+)", page))
    assert {"benchmarks.peers.spikingjelly", "benchmarks.peers.rate_bp"} <= modules
    for module in modules:
        assert (ROOT / (module.replace(".", "/") + ".py")).is_file(), module
    for script in set(re.findall(r"python (scripts/\w+\.py)", page)):
        assert (ROOT / script).is_file(), script
