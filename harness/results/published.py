"""Published runs: the tidy tables alone, as `results/published` keeps them in git.

A run's folder that still has its records is read from those by `results.store`; a published one has
only `trials.csv` and `measurements.csv`, which the store has derived from them.
"""

from __future__ import annotations

from dataclasses import MISSING
from pathlib import Path
from typing import Any, Final

import pandas as pd

from harness.errors import StoreError
from harness.results import store
from harness.results.store import MEASUREMENT_COLUMNS, TRIAL_COLUMNS, Tables
from harness.spec import AXES, NUMBERS

TABLES: Final = ("trials.csv", "measurements.csv")

_NUMBERS: Final = frozenset(
    {"repeat", "order", "attempts", "measurement", "seconds", "sample", "value", *NUMBERS}
)
"""Columns that hold numbers; the others are text, even a digest that looks like a number."""

_AXES: Final = {axis.name: axis for axis in AXES}


def load(folder: Path) -> Tables:
    """The tables of a run: from its records if they are there, or else as they were published.

    Raises:
        StoreError: if the folder holds neither, or a table that is none.
    """
    if (folder / "trials").is_dir() or not all((folder / name).is_file() for name in TABLES):
        return store.load(folder)
    trials, measurements = (folder / name for name in TABLES)
    return Tables(_read(trials, TRIAL_COLUMNS), _read(measurements, MEASUREMENT_COLUMNS))


def _read(path: Path, columns: list[str]) -> pd.DataFrame:
    texts = dict.fromkeys(set(columns) - _NUMBERS, "str")
    try:
        table = pd.read_csv(path, dtype=texts)
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    for name in columns:
        usual: Any = _AXES[name].default if name in _AXES else MISSING
        if name not in table and usual is not MISSING:
            table[name] = usual  # an axis that is younger than the table
    if missing := [name for name in columns if name not in table]:
        raise _damaged(path, f"no column {', '.join(missing)}")
    if "phase" in table:  # the only text that may be empty and is not absent
        table["phase"] = table["phase"].fillna("")
    return table[columns]


def _damaged(path: Path, why: str) -> StoreError:
    return StoreError(f"{path} cannot be read ({why}); restore it with `git checkout -- {path}`")
