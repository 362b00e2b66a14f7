"""A run as the report reads it: its tables, and what else its records say of each trial."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import ReportError
from harness.results import comparable, published
from harness.results.store import Store, Tables


@dataclass(frozen=True)
class RunTables:
    """The tables of one run and, by trial, its record without the rows, which are in the tables.

    A published run (see `harness.results.published`) has no records.
    """

    tables: Tables
    records: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def read(folder: Path, *, mix: bool = False) -> RunTables:
    """Read a run's folder.

    Raises:
        StoreError: if the folder holds no results.
        ReportError: if no trial of the sweep has finished.
        MixedError: if the trials do not belong together and `mix` is not set.
    """
    if (folder / "trials").is_dir():
        store = _Keeping(folder)
        run = RunTables(store.tables(), store.kept)
    else:
        run = RunTables(published.load(folder))
    if run.tables.trials.empty:
        raise ReportError(
            f"{folder} holds no finished trial, so there is nothing to report; run the sweep "
            "(again) with `ratebp-bench run`"
        )
    if not mix:
        comparable.check(run.tables.trials)
    return run


class _Keeping(Store):
    """A store that keeps what it reads: parsing 2,000 records again would take half a second."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.kept: dict[str, dict[str, Any]] = {}

    def record(self, trial: str) -> dict[str, Any] | None:
        found = super().record(trial)
        if found is not None:
            self.kept[trial] = {key: value for key, value in found.items() if key != "rows"}
        return found
