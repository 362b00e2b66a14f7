"""The exact tier on real figures: one byte more fails it, one byte less too, and both can be kept.

The method under test is a plug-in that equals sltt and keeps as many extra bytes as its file says.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.errors import SweepError
from harness.gate import exact
from harness.gate.baseline import Baseline, environment
from harness.gate.exact import ExactRequest
from harness.gate.verdict import Exit, GateReport, Verdict
from harness.outcome import Outcome
from harness.planning.client import Planner
from harness.spec import Cell
from harness.sweep.catalogue import COMMAND

PLUGIN = '''
"""SLTT with bytes that it never looks at; the file beside it says how many, or how it fails."""

from dataclasses import dataclass
from pathlib import Path

import torch

import ratebp
from ratebp.methods.sltt import Sltt


@dataclass(frozen=True)
class Hoarder(Sltt):
    """As sltt, and keeps."""

    def step(self, views, x, y, loss, context):
        word = Path(__file__).with_suffix(".txt").read_text()
        if word == "refuse":
            raise ratebp.BindError("hoarder cannot train this")
        if word == "memory":
            raise torch.OutOfMemoryError("CUDA out of memory")
        kept = [torch.empty(1, dtype=torch.uint8) for _ in range(int(word))]
        result = super().step(views, x, y, loss, context)
        del kept
        return result
'''
CELLS = """
name = "cells"
[[grid]]
probes = ["memory"]
method = {methods}
model = {{ name = "tiny_resnet", width = 0.25 }}
data = "digits"
T = 1
batch = 2
"""
GROWN = {
    ("mem.live_peak, step", 1),
    ("mem.live_peak, forward", 1),
    ("mem.live_peak, backward", 1),
    ("mem.live_after_forward, forward", 1),
    ("mem.trace, forward", 1),
}

Gate = Callable[..., GateReport]
Hoard = Callable[[object], None]


class Silent:
    """A listener that says nothing."""

    def planned(self, cells: Sequence[Cell], jobs: int) -> None: ...

    def finished(self, cell: Cell, prediction: Outcome) -> None: ...


@dataclass(frozen=True)
class Library:
    """The library with the plug-in in it: a planner, and the catalogue as it was read once."""

    plugin: Path
    planner: Planner
    catalogue: tuple[str, ...]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    folder = tmp_path_factory.mktemp("plugin")
    plugin, offered = folder / "hoarder.py", folder / "catalogue.json"
    plugin.write_text(PLUGIN)
    with pytest.MonkeyPatch.context() as patch, Planner(1) as planner:
        patch.setenv("RATEBP_PLUGINS", str(plugin))
        offered.write_bytes(subprocess.run(COMMAND, check=True, capture_output=True).stdout)
        say = f"print(open({str(offered)!r}).read())"
        yield Library(plugin, planner, (sys.executable, "-I", "-c", say))


@pytest.fixture
def hoard(library: Library) -> Hoard:
    """Say how many bytes more than sltt the plug-in keeps, or how it fails."""

    def say(word: object) -> None:
        library.plugin.with_suffix(".txt").write_text(str(word))

    say(0)
    return say


@pytest.fixture
def gate(tmp_path: Path, library: Library) -> Gate:
    """Run the exact tier on cells of some methods, with a real child."""

    def run(
        update: bool = False, methods: Sequence[str] = ("hoarder",), only: str = ""
    ) -> GateReport:
        cells = tmp_path / "cells.toml"
        cells.write_text(CELLS.format(methods=json.dumps(list(methods))))
        request = ExactRequest(str(cells), tmp_path / "baselines", (only,) if only else (), update)
        return exact.run(request, library.planner, Silent(), command=library.catalogue)

    return run


def grown(report: GateReport) -> set[tuple[str, float]]:
    """By how much each figure has changed."""
    return {(each.quantity, each.after - each.before) for each in report.changes}  # type: ignore[operator]


def verdicts(report: GateReport) -> list[Verdict]:
    return [change.verdict for change in report.changes]


def test_a_byte_more_fails_a_byte_less_too_and_the_remedy_is_accepted(
    gate: Gate, hoard: Hoard, tmp_path: Path
) -> None:
    assert gate().exit is Exit.REBASELINE_NEEDED
    first = gate(update=True)
    assert (first.exit, first.changes) == (Exit.FINE, ())

    hoard(1)
    worse = gate()
    assert worse.exit is Exit.REGRESSION
    assert grown(worse) == GROWN
    assert {change.verdict for change in worse.changes} == {Verdict.WORSE}
    assert len(worse.rows) == len(GROWN)

    remedy = worse.accept.split()
    assert remedy[:3] == ["ratebp-bench", "gate", "--exact"]
    assert "--update" in remedy
    accepted = gate(update=True)
    assert (accepted.exit, grown(accepted)) == (Exit.FINE, GROWN)
    kept = (tmp_path / "baselines" / environment() / "hoarder.csv").read_text().splitlines()
    assert set(worse.rows) <= set(kept)

    hoard(0)
    better = gate()
    assert better.exit is Exit.REBASELINE_NEEDED
    assert grown(better) == {(quantity, -1) for quantity, _ in GROWN}
    assert gate(update=True).exit is Exit.FINE
    again = gate()
    assert (again.exit, again.changes) == (Exit.FINE, ())


@pytest.mark.deep
def test_a_refusal_and_an_out_of_memory_are_regressions_and_only_the_first_is_recorded(
    gate: Gate, hoard: Hoard
) -> None:
    gate(update=True)
    hoard("refuse")
    refused = gate()
    assert (refused.exit, verdicts(refused)) == (Exit.REGRESSION, [Verdict.REFUSED])
    assert "hoarder cannot train this" in str(refused.changes[0].after)

    hoard("memory")
    for report in (gate(), gate(update=True)):
        assert (report.exit, verdicts(report)) == (Exit.REGRESSION, [Verdict.FAILED])
        assert "oom" in str(report.changes[0].after)
    assert "nothing is recorded" in report.notes[-1]

    hoard("refuse")
    gate(update=True)
    assert gate().exit is Exit.FINE
    hoard(0)
    lifted = gate()
    assert (lifted.exit, verdicts(lifted)) == (Exit.REBASELINE_NEEDED, [Verdict.BETTER])


@pytest.mark.deep
def test_methods_that_come_and_go(gate: Gate, hoard: Hoard, tmp_path: Path) -> None:
    gate(update=True, methods=["sltt"])
    new = gate(methods=["sltt", "hoarder"])
    assert (new.exit, verdicts(new)) == (Exit.REBASELINE_NEEDED, [Verdict.NEW])
    gate(update=True, methods=["sltt", "hoarder"], only="hoarder")
    assert gate(methods=["sltt", "hoarder"]).exit is Exit.FINE

    gone = gate(methods=["sltt"])
    assert (gone.exit, verdicts(gone)) == (Exit.REGRESSION, [Verdict.VANISHED])
    assert gate(methods=["sltt"], only="sltt").exit is Exit.FINE
    gate(update=True, methods=["sltt"])
    left = Baseline(tmp_path / "baselines" / environment()).read()
    assert {place.method for place in left} == {"sltt"}
    with pytest.raises(SweepError, match=r"unknown method in .*'slt' \(did you mean 'sltt'"):
        gate(methods=["sltt"], only="slt")


def test_another_version_of_torch_needs_a_baseline_of_its_own(
    gate: Gate, hoard: Hoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate(update=True)
    monkeypatch.setattr("harness.gate.baseline.metadata.version", lambda _: "9.9.0.dev1+cpu")
    other = gate()
    assert other.exit is Exit.REBASELINE_NEEDED
    assert "no baseline for cpu-torch9.9-m" in other.notes[0]
    assert "recorded: cpu-torch2." in other.notes[0]
    assert other.accept.endswith("--update")
    assert other.changes == ()
