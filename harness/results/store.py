"""The results folder of one sweep: a file a trial, and the tables derived from them.

    <results>/runs/<sweep>/
        plan.json              the sweep as it was last asked, with its trial ids in order
        trials/<id>.json       the source of truth, one finished trial each
        environments/<hash>.json
        trials.csv measurements.csv report.html     derived; written afresh each time
        logs/<id>/             what a trial that did not end well has printed

Every file is written to a temporary name, synchronised and renamed: a reader sees a whole file or
none. Records of trials that the plan no longer asks for stay on disk but leave the tables.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from harness.errors import LockedError, RowError, StoreError
from harness.rows import SCHEMA_VERSION, Row
from harness.spec import AXES, Cell

# fmt: off
TRIAL_COLUMNS: Final = [
    "trial", "sweep", "probe", "repeat", "order", "status", "error", "attempts",
    "method", "method_name", "family", "memory_class",
    *(axis.name for axis in AXES if not axis.pooled and axis.name != "method"),
    *(axis.name for axis in AXES if axis.pooled),
    "environment", "measurement", "shared_code", "code", "commit", "started", "seconds",
]
# fmt: on
MEASUREMENT_COLUMNS: Final = ["trial", "metric", "phase", "sample", "value", "unit", "kind"]


@dataclass(frozen=True)
class Tables:
    """The tidy tables: one row a trial, and one row a sample.

    `notices` says what is not in them and why, one sentence each.
    """

    trials: pd.DataFrame
    measurements: pd.DataFrame
    notices: tuple[str, ...] = ()


class Store:
    """Reads and writes the results folder of one sweep.

    Raises:
        StoreError: from every method, if the disk refuses.
    """

    def __init__(self, folder: Path) -> None:
        """Name the folder; nothing is touched yet."""
        self.folder = folder
        self.notices: list[str] = []
        """Files that could not be read, one sentence each."""

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for one run.

        Raises:
            LockedError: if another run holds it.
        """
        with _disk(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            with _disk(self.folder / ".lock"):
                self._lock(handle)
            yield
        finally:
            os.close(handle)

    def _lock(self, handle: int) -> None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.pread(handle, 20, 0).decode("ascii", "replace").strip() or "unknown"
            raise LockedError(
                f"another run (process {owner}) is at work in {self.folder}; wait for it, "
                "or give another folder with --results"
            ) from error
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode("ascii"), 0)

    def prune(self) -> None:
        """Remove half-written files that a killed run has left, and the folder of logs if empty."""
        with _disk(self.folder):
            for left in self.folder.rglob("*.part"):
                left.unlink()
        with contextlib.suppress(OSError):
            (self.folder / "logs").rmdir()

    def logs(self, trial: str) -> Path:
        """Folder for what one trial reads, writes and prints; its executor makes it."""
        return self.folder / "logs" / trial

    def record(self, trial: str) -> dict[str, Any] | None:
        """The finished record of a trial; None if there is none or it is unreadable (noted)."""
        return self._read(self.folder / "trials" / f"{trial}.json")

    def write_record(self, record: Mapping[str, Any]) -> None:
        """Keep one finished trial."""
        write_json(self.folder / "trials" / f"{record['trial']}.json", record)

    def write_environment(self, name: str, fingerprint: Mapping[str, Any]) -> None:
        """Keep a fingerprint, once."""
        path = self.folder / "environments" / f"{name}.json"
        if not path.exists():
            write_json(path, fingerprint)

    def write_plan(self, plan: Mapping[str, Any]) -> None:
        """Keep what was asked: `plan["trials"]` are the ids that belong to the tables."""
        write_json(self.folder / "plan.json", plan)

    def tables(self) -> Tables:
        """Build the tables from the records of the plan (of all records if there is no plan)."""
        plan = self._read(self.folder / "plan.json", ("trials",))
        there = sorted(path.stem for path in (self.folder / "trials").glob("*.json"))
        names = there if plan is None else list(plan["trials"])
        records = [record for name in names if (record := self.record(name)) is not None]
        others = len(set(there) - set(names))
        left_out = (
            f"{others} more records in {self.folder / 'trials'} are not in plan.json (of an older "
            "code, another environment, or a wider sweep) and are left out"
        )
        return Tables(
            pd.DataFrame([_trial_row(record) for record in records], columns=TRIAL_COLUMNS),
            pd.DataFrame(
                [line for record in records for line in _measurement_rows(record)],
                columns=MEASUREMENT_COLUMNS,
            ),
            (*self.notices, *([left_out] if others else [])),
        )

    def write_tables(self) -> Tables:
        """Write `trials.csv` and `measurements.csv` afresh and return what they hold."""
        tables = self.tables()
        write_text(self.folder / "trials.csv", tables.trials.to_csv(index=False))
        write_text(self.folder / "measurements.csv", tables.measurements.to_csv(index=False))
        return tables

    def _read(self, path: Path, needs: tuple[str, ...] = ()) -> dict[str, Any] | None:
        try:
            plain = json.loads(path.read_text(encoding="utf-8"))
            _check(plain, needs) if needs else _check_record(plain)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, RowError) as error:
            notice = f"{path} cannot be read ({error}); it counts as missing"
            if notice not in self.notices:
                self.notices.append(notice)
            return None
        return dict(plain)


def load(folder: Path) -> Tables:
    """The tables of a sweep's results folder.

    Raises:
        StoreError: if the folder holds no trial.
    """
    if not (folder / "trials").is_dir():
        raise StoreError(
            f"{folder} holds no results; give the folder of a sweep, for example "
            "results/runs/quick, or run the sweep first with `ratebp-bench run`"
        )
    return Store(folder).tables()


def write_json(path: Path, plain: Mapping[str, Any]) -> None:
    """Write a JSON document atomically."""
    write_text(path, json.dumps(plain, indent=1, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically: temporary name, synchronise, rename.

    Raises:
        StoreError: if the disk refuses.
    """
    part = path.with_name(f"{path.name}.part")
    with _disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except OSError:
            part.unlink(missing_ok=True)  # half a file helps nobody, and the disk may be full
            raise


@contextlib.contextmanager
def _disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"cannot write {path}: {error.strerror}; free some space, or choose a folder "
            "that you may write to with --results"
        ) from error


def _check_record(plain: Mapping[str, Any]) -> None:
    if plain["schema"] > SCHEMA_VERSION:
        raise ValueError(
            f"written by a newer version: schema {plain['schema']}, this one knows {SCHEMA_VERSION}"
        )
    _check(plain, ("trial", "sweep", "cell", "probe", "repeat", "status", "rows", "code"))
    Cell.from_json(plain["cell"])
    for row in plain["rows"]:
        Row.from_json(row)


def _check(plain: Mapping[str, Any], needs: tuple[str, ...]) -> None:
    for key in needs:
        if key not in plain:
            raise ValueError(f"no key {key!r}")


def _trial_row(record: Mapping[str, Any]) -> dict[str, Any]:
    cell = Cell.from_json(record["cell"])
    row = {column: record.get(column) for column in TRIAL_COLUMNS}
    return row | {
        **cell.said(),
        "method_name": cell.method.name,
        "operators": _operators(record, cell),
        "shared_code": record["code"].get("shared"),
        "code": record["code"]["digest"],
        "commit": record["code"].get("commit"),
    }


def _operators(record: Mapping[str, Any], cell: Cell) -> str:
    """Which operators ran; before they were an axis, only a fact said so."""
    if record["schema"] > 1:
        return cell.operators
    return str(record.get("facts", {}).get("operators", cell.operators))


def _measurement_rows(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for row in map(Row.from_json, record["rows"]):
        for sample, value in enumerate(row.values):
            yield {
                "trial": record["trial"],
                "metric": row.metric,
                "phase": row.phase,
                "sample": sample,
                "value": value,
                "unit": row.unit,
                "kind": row.kind,
            }
