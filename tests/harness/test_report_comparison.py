from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from report_sample import METHODS, QUANTITIES, STEPS, group, write

from harness import report
from harness.errors import MixedError, ReportError
from harness.report import comparison
from harness.report.estimates import groups
from harness.results.store import load

LIVE, STEP = QUANTITIES["live_peak"], QUANTITIES["step"]


def edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    for path in (folder / "trials").glob("*.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        change(record)
        path.write_text(json.dumps(record), encoding="utf-8")


def scale(metric: str, factor: float) -> Callable[[dict[str, Any]], None]:
    def change(record: dict[str, Any]) -> None:
        for row in record["rows"]:
            if row["metric"] == metric:
                row["values"] = [type(value)(value * factor) for value in row["values"]]

    return change


def test_a_run_compared_with_itself_has_not_changed(tmp_path: Path) -> None:
    same = group(tmp_path)
    for quantity in (LIVE, STEP, QUANTITIES["cpu_requested"]):
        rows = comparison.changes(same, same, quantity)
        assert len(rows) == len(METHODS) * len(STEPS) - 1
        assert {row["verdict"] for row in rows} == {"no change"}
        assert {row["ratio"] for row in rows} == {1.0}


@pytest.mark.parametrize(
    ("metric", "quantity", "factor", "verdict"),
    [
        ("mem.live_peak", "live_peak", 2.0, "more"),
        ("cpu.requested_peak", "cpu_requested", 1.01, "no change"),
        ("cpu.requested_peak", "cpu_requested", 0.9, "less"),
        ("time.step", "step", 2.0, "more"),
        ("time.step", "step", 0.5, "less"),
        ("time.step", "step", 1.001, "no change"),
    ],
)
def test_each_kind_is_judged_by_its_rule(
    tmp_path: Path, metric: str, quantity: str, factor: float, verdict: str
) -> None:
    first = group(tmp_path / "a", repeats=4)
    write(tmp_path / "b", repeats=4)
    edit(tmp_path / "b", scale(metric, factor))
    tables = load(tmp_path / "b")
    (second,) = groups(tables.trials, tables.measurements)
    rows = comparison.changes(first, second, QUANTITIES[quantity])
    assert {row["verdict"] for row in rows} == {verdict}
    assert rows[0]["ratio"] == pytest.approx(factor)
    assert rows[0]["low"] <= rows[0]["ratio"] <= rows[0]["high"]


def test_noise_of_few_processes_is_no_verdict(tmp_path: Path) -> None:
    first = group(tmp_path / "a", repeats=3)
    write(tmp_path / "b", repeats=3)
    edit(tmp_path / "b", scale("time.step", 2.0))
    tables = load(tmp_path / "b")
    (second,) = groups(tables.trials, tables.measurements)
    rows = comparison.changes(first, second, STEP)
    assert {row["verdict"] for row in rows} == {"too few processes"}
    assert "29 of 29 cells have too few processes" in comparison.sentence(rows, STEP)


def test_the_verdict_has_a_ratio_and_a_word_at_the_largest_step(tmp_path: Path) -> None:
    first = group(tmp_path / "a")
    write(tmp_path / "b")
    edit(tmp_path / "b", scale("mem.live_peak", 2.0))
    tables = load(tmp_path / "b")
    (second,) = groups(tables.trials, tables.measurements)
    rows = {LIVE.key: comparison.changes(first, second, LIVE)}
    table = comparison.verdict(rows, second.methods).set_index("method")
    assert list(table.columns) == ["change of memory at T=16", "memory at T=16"]
    assert table.loc["sltt", "change of memory at T=16"].value == 2
    assert table.loc["sltt", "memory at T=16"] == "more"
    assert table.loc["bptt_s"].isna().all()  # lost at this T


def test_two_commits_may_be_compared_and_both_are_told(tmp_path: Path) -> None:
    for name, commit in (("a", "a" * 40), ("b", "b" * 40)):
        write(tmp_path / name, repeats=1)
        edit(tmp_path / name, lambda record, commit=commit: record.update(  # type: ignore[misc]
            code={"digest": commit[:8], "shared": commit[:8], "commit": commit, "dirty": False}
        ))  # fmt: skip
    found = report.compare(tmp_path / "a", tmp_path / "b")
    assert found.path == tmp_path / "b" / "compare-a.html"
    assert any("aaaaaaa" in notice and "bbbbbbb" in notice for notice in found.notices)
    page = found.path.read_text(encoding="utf-8")
    assert "<h1>a → b</h1>" in page
    assert "Live tensor peak of a step: none of 29 cells changed." in page


@pytest.mark.parametrize(
    ("change", "what"), [({"environment": "other"}, "environment"), ({"measurement": 1}, "version")]
)
def test_two_machines_or_two_meanings_are_refused_unless_asked(
    tmp_path: Path, change: dict[str, Any], what: str
) -> None:
    write(tmp_path / "a", repeats=1)
    write(tmp_path / "b", repeats=1)
    edit(tmp_path / "b", lambda record: record.update(change))
    with pytest.raises(MixedError, match=rf"cannot be compared[\s\S]*{what}[\s\S]*--mix"):
        report.compare(tmp_path / "a", tmp_path / "b")
    assert report.compare(tmp_path / "a", tmp_path / "b", mix=True).path.is_file()


def test_runs_without_a_common_setting_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a", repeats=1)
    write(tmp_path / "b", repeats=1, batches=(64,))
    with pytest.raises(ReportError, match=r"compared: network, data, batch, .*, operators must be"):
        report.compare(tmp_path / "a", tmp_path / "b")
