"""The results folder: whole files or none, one run at a time, tables from the plan."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import LockedError, StoreError
from harness.results.store import MEASUREMENT_COLUMNS, TRIAL_COLUMNS, Store, load, write_text
from harness.spec import TrialSpec


@pytest.fixture
def record(make_spec: Callable[..., TrialSpec]) -> Callable[..., dict[str, Any]]:
    def record(trial: str = "aa", status: str = "ok", **changes: Any) -> dict[str, Any]:
        row = {"metric": "time.step", "phase": "step", "unit": "s", "kind": "noisy"}
        return {
            "schema": 1,
            "trial": trial,
            "sweep": "demo",
            "cell": make_spec().cell.to_json(),
            "probe": "time",
            "repeat": 0,
            "status": status,
            "code": {"digest": "c", "commit": None},
            "rows": [row | {"values": [0.5, 0.25]}] if status == "ok" else [],
        } | changes

    return record


def test_tables_of_records(tmp_path: Path, record: Callable[..., dict[str, Any]]) -> None:
    store = Store(tmp_path)
    store.write_record(record("aa"))
    store.write_record(record("bb", "oom_cuda", error="out of memory"))
    tables = store.write_tables()
    assert list(tables.trials.columns) == TRIAL_COLUMNS
    assert list(tables.measurements.columns) == MEASUREMENT_COLUMNS
    assert tables.trials["status"].tolist() == ["ok", "oom_cuda"]
    assert tables.measurements["value"].tolist() == [0.5, 0.25]
    assert tables.measurements["sample"].tolist() == [0, 1]
    text = (tmp_path / "measurements.csv").read_text().splitlines()
    assert text == [
        ",".join(MEASUREMENT_COLUMNS),
        "aa,time.step,step,0,0.5,s,noisy",
        "aa,time.step,step,1,0.25,s,noisy",
    ]
    assert sorted(path.name for path in tmp_path.rglob("*.part")) == []


def test_the_plan_decides_what_is_in_the_tables(
    tmp_path: Path, record: Callable[..., dict[str, Any]]
) -> None:
    store = Store(tmp_path)
    for trial in ("old", "cc", "bb"):
        store.write_record(record(trial))
    store.write_plan({"trials": ["cc", "bb", "not yet"]})
    tables = load(tmp_path)
    assert tables.trials["trial"].tolist() == ["cc", "bb"]
    (notice,) = tables.notices
    assert notice.startswith("1 more records in ")
    assert notice.endswith("are left out")


def test_a_torn_plan_leaves_nothing_out_and_is_told(
    tmp_path: Path, record: Callable[..., dict[str, Any]]
) -> None:
    store = Store(tmp_path)
    store.write_record(record("aa"))
    (tmp_path / "plan.json").write_text('{"trials": [')
    tables = load(tmp_path)
    assert tables.trials["trial"].tolist() == ["aa"]
    assert "plan.json cannot be read" in tables.notices[0]


@pytest.mark.parametrize(
    "text",
    ['{"schema": 1, "tri', "", "[]", "{}", '{"schema": 99}', '"text"', "\x00\x00"],
)
def test_a_damaged_record_counts_as_missing(tmp_path: Path, text: str) -> None:
    store = Store(tmp_path)
    (tmp_path / "trials").mkdir()
    (tmp_path / "trials" / "aa.json").write_text(text)
    assert store.record("aa") is None
    assert store.record("aa") is None
    assert len(store.notices) == 1
    assert "aa.json cannot be read" in store.notices[0]
    tables = load(tmp_path)
    assert tables.trials.empty
    assert list(tables.notices) == store.notices


def test_a_newer_record_is_named_as_that(tmp_path: Path) -> None:
    (tmp_path / "trials").mkdir()
    (tmp_path / "trials" / "aa.json").write_text('{"schema": 99}')
    (notice,) = load(tmp_path).notices
    assert "written by a newer version: schema 99, this one knows 2" in notice


@pytest.mark.parametrize(
    "change", [{"cell": {}}, {"rows": [{}]}, {"status": None, "rows": 3}, {"cell": 4}]
)
def test_a_record_that_is_json_but_nonsense(
    tmp_path: Path, record: Callable[..., dict[str, Any]], change: dict[str, Any]
) -> None:
    store = Store(tmp_path)
    store.write_record(record("aa") | change)
    assert store.record("aa") is None
    assert store.notices


def test_one_run_at_a_time(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from harness.results.store import Store\n"
        f"with Store(Path({str(tmp_path)!r})).locked(): print('in')"
    )
    with Store(tmp_path).locked():
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert "another run (process " in done.stderr
        with (
            pytest.raises(LockedError, match=r"is at work in .*--results"),
            Store(tmp_path).locked(),
        ):
            pass
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "in\n"


def test_half_written_files_are_pruned(tmp_path: Path) -> None:
    left = tmp_path / "trials" / "aa.json.part"
    left.parent.mkdir()
    left.touch()
    Store(tmp_path).prune()
    assert not left.exists()


def test_an_environment_is_written_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_environment("e1", {"cpu": "first"})
    store.write_environment("e1", {"cpu": "second"})
    assert json.loads((tmp_path / "environments" / "e1.json").read_text()) == {"cpu": "first"}


def test_a_disk_that_refuses_has_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot write .*free some space.*--results"):
        write_text(tmp_path / "file" / "table.csv", "text")
    with pytest.raises(StoreError, match="cannot write"), Store(tmp_path / "file" / "x").locked():
        pass


def test_a_full_disk_leaves_what_was_there(
    tmp_path: Path, record: Callable[..., dict[str, Any]]
) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full (Linux)")
    store = Store(tmp_path)
    store.write_record(record("aa"))
    before = (tmp_path / "trials" / "aa.json").read_bytes()
    part = tmp_path / "trials" / "aa.json.part"
    part.symlink_to(full)
    with pytest.raises(StoreError, match="No space left on device; free some space"):
        store.write_record(record("aa", "crash"))
    assert (tmp_path / "trials" / "aa.json").read_bytes() == before
    assert not part.is_symlink()


def test_a_folder_without_results(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"holds no results.*ratebp-bench run"):
        load(tmp_path)
