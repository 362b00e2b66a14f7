"""Cells that cannot fit are skipped with figures, all but a probe of the prediction."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from fakes import CATALOGUE, WORKER, Recorder

from harness.errors import HarnessError
from harness.outcome import Outcome
from harness.rows import Row
from harness.run import runner
from harness.run.executors.local import LocalExecutor
from harness.run.forecast import foresee
from harness.run.runner import RunRequest, Summary
from harness.spec import Cell, Choice

Write = Callable[..., Path]


class Oracle:
    """Predicts `each` bytes a time step and image, and remembers what it was asked."""

    def __init__(self, each: int = 10, status: str = "ok") -> None:
        self.each, self.status = each, status
        self.asked: list[tuple[str, int, int]] = []

    def __call__(self, cells: Sequence[Cell]) -> Iterator[tuple[Cell, Outcome]]:
        for cell in cells:
            self.asked.append((cell.method.name, cell.T, cell.batch))
            bytes_of = {"mem.persistent": 100, "mem.live_peak": self.each * cell.T * cell.batch}
            rows = (Row(name, "step", "B", "exact", (size,)) for name, size in bytes_of.items())
            yield cell, Outcome(self.status, rows=tuple(rows) if self.status == "ok" else ())


def _cells(Ts: Sequence[int], batches: Sequence[int] = (4,), **changes: Any) -> list[Cell]:
    cell = {"method": Choice.make("fine"), "model": Choice.make("tiny"), "data": "digits"} | changes
    return [Cell(T=T, batch=batch, **cell) for T in Ts for batch in batches]


def test_only_the_largest_is_predicted_where_there_is_room() -> None:
    oracle = Oracle()
    assert foresee(_cells([1, 2, 4], [1, 4]), oracle, {"cpu": 10_000}) == {}
    assert oracle.asked == [("fine", 4, 4)]


def test_the_largest_are_all_that_no_other_exceeds() -> None:
    oracle = Oracle()
    foresee(_cells([1], [64]) + _cells([8], [2]) + _cells([4], [2]), oracle, {"cpu": 10_000})
    assert sorted(oracle.asked) == [("fine", 1, 64), ("fine", 8, 2)]


def test_the_rest_is_predicted_where_it_is_tight() -> None:
    oracle = Oracle()
    found = foresee(_cells([1, 2, 4, 8]), oracle, {"cpu": 200})
    assert {cell.T: need.bytes for cell, need in found.items()} == {4: 260, 8: 420}
    assert {need.device_bytes for need in found.values()} == {200}
    assert sorted(oracle.asked) == [("fine", T, 4) for T in (1, 2, 4, 8)]


def test_the_limit_is_95_hundredths() -> None:
    cells = _cells([2, 3])  # 180 and 220 bytes
    assert {cell.T for cell in foresee(cells, Oracle(), {"cpu": 231})} == {3}
    assert foresee(cells, Oracle(), {"cpu": 232}) == {}


@pytest.mark.parametrize(("status", "capacity"), [("skipped", 10), ("crash", 10), ("ok", None)])
def test_what_is_unknown_is_run(status: str, capacity: int | None) -> None:
    assert foresee(_cells([1, 2]), Oracle(status=status), {"cpu": capacity}) == {}


def test_seeds_and_budgets_share_a_prediction() -> None:
    oracle = Oracle()
    foresee(_cells([1], seed=0) + _cells([1], seed=1), oracle, {"cpu": 10})
    assert oracle.asked == [("fine", 1, 4)]


@pytest.fixture
def measure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Summary, Recorder]]:
    """Run a sweep on a machine with so many bytes."""

    def measure(path: Path, there: int, oracle: Any) -> tuple[Summary, Recorder]:
        monkeypatch.setattr(runner.environment, "available_memory", lambda: there)
        request, listener = RunRequest(str(path), results=tmp_path / "results"), Recorder()
        summary = runner.run(
            request,
            listener,
            executor=LocalExecutor(WORKER, grace_s=0.3),
            command=CATALOGUE,
            predict=oracle,
        )
        return summary, listener

    return measure


def _ends(summary: Summary) -> dict[tuple[str, int], list[str]]:
    trials = summary.tables.trials
    parts = trials.groupby(["probe", "T"])["status"]
    return {(str(probe), int(T)): sorted(ends) for (probe, T), ends in parts}


def test_a_prediction_that_holds(
    write_sweep: Write, measure: Callable[..., tuple[Summary, Recorder]]
) -> None:
    """`oom` fails at every T; T=2 and T=4 are predicted to, and one trial of T=2 tries."""
    path = write_sweep("repeats = 2", method="oom", T=[1, 2, 4])
    summary, listener = measure(path, 150, Oracle())
    assert _ends(summary) == {
        ("memory", 1): ["oom_cuda"] * 2,
        ("time", 1): ["oom_cuda"] * 2,
        ("memory", 2): ["oom_cuda", "skipped"],
        ("time", 2): ["skipped"] * 2,
        ("memory", 4): ["skipped"] * 2,
        ("time", 4): ["skipped"] * 2,
    }
    assert (summary.exit_code, summary.measured, summary.missing) == (0, 12, 0)
    assert len(listener.done) == 12
    (notice,) = listener.notices
    assert "T=2, batch 4: predicted to need 1.68e-07 GiB" in notice
    assert "ended oom_cuda; 7 more trials are skipped" in notice
    trials = summary.tables.trials
    skipped = trials[(trials["status"] == "skipped") & (trials["T"] == 4)].iloc[0]
    assert "predicted to fail: its tensors take" in skipped["error"]
    assert skipped["attempts"] == 0
    record = json.loads((summary.folder / "trials" / f"{skipped['trial']}.json").read_text())
    figures = record["facts"]["forecast"]
    tried = trials[(trials["status"] == "oom_cuda") & (trials["T"] == 2)].iloc[0]
    assert (figures["bytes"], figures["device_bytes"]) == (260, 150)
    assert (figures["probe"], figures["probe_status"]) == (tried["trial"], "oom_cuda")


def test_skips_are_examined_again_when_the_memory_differs(
    write_sweep: Write, measure: Callable[..., tuple[Summary, Recorder]]
) -> None:
    path = write_sweep(method="oom", T=[1, 2, 4], probes="memory")
    measure(path, 100, Oracle())
    oracle = Oracle()
    again, _ = measure(path, 100, oracle)
    assert (again.measured, oracle.asked) == (0, [])
    more, _ = measure(path, 250, Oracle())  # T=2 fits now, T=4 still does not
    assert (more.measured, more.kept) == (1, 2)
    assert set(more.tables.trials["status"]) == {"oom_cuda", "skipped"}
    assert _ends(more)["memory", 2] == ["oom_cuda"]


def test_a_prediction_that_is_wrong_skips_nothing(
    write_sweep: Write, measure: Callable[..., tuple[Summary, Recorder]]
) -> None:
    summary, listener = measure(write_sweep(method=["fine", "oom"], T=[1, 2]), 100, Oracle())
    trials = summary.tables.trials
    assert set(trials[trials["method"] == "fine"]["status"]) == {"ok"}
    assert len(trials[trials["method"] == "fine"]) == 4
    assert sorted(trials[trials["method"] == "oom"]["status"]) == ["oom_cuda"] + ["skipped"] * 3
    wrong = [notice for notice in listener.notices if notice.startswith("fine on tiny")]
    assert "ended ok: the prediction was wrong, and 3 more trials are run after all" in wrong[0]


def test_a_probe_that_crashes_decides_nothing(
    write_sweep: Write, measure: Callable[..., tuple[Summary, Recorder]]
) -> None:
    path = write_sweep(method="raises", T=[1, 2], probes="memory")
    summary, listener = measure(path, 100, Oracle())
    assert sorted(summary.tables.trials["status"]) == ["crash", "skipped"]
    assert "ended crash (which decides nothing)" in listener.notices[0]
    assert summary.exit_code == 1


def test_no_prediction_no_skips(
    write_sweep: Write, measure: Callable[..., tuple[Summary, Recorder]]
) -> None:
    def broken(_: Sequence[Cell]) -> Iterator[tuple[Cell, Outcome]]:
        raise HarnessError("the planner does not start")

    summary, listener = measure(write_sweep(probes="memory"), 1, broken)
    assert set(summary.tables.trials["status"]) == {"ok"}
    assert "the planner does not start" in listener.notices[0]
