"""Which trials belong together: same machine, same meaning of the figures, same code.

A difference between figures of two machines, two versions of a metric or two versions of the code
says nothing about a method, so such trials are refused, by name of what differs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pandas as pd

from harness.errors import MixedError
from harness.spec import OWN

FIELDS: Final = {
    "environment": "the environment (machine and software)",
    "measurement": "the measurement version",
    "shared_code": "the code that all methods share (library and instrument)",
}
"""Columns of the trials that must hold one value, and what each is."""

_SHOWN: Final = 6
_REMEDY: Final = (
    "compare the parts one by one, or put them together all the same with --mix "
    "(differences between the figures may then come from any of these)"
)


def differences(trials: pd.DataFrame) -> list[str]:
    """What differs among the trials of a table, one sentence each; empty if they belong together.

    The files of a method and of a probe are part of `code`, so that column is compared for each
    method and probe; what follows `OWN` in it, the user's files, for each model and data. Commits
    are named for the reader only: an edited README makes a new commit and the same figures.
    """
    found = []
    for column, words in FIELDS.items():
        if trials[column].nunique(dropna=False) > 1:
            found.append(f"{words} differs: {'; '.join(_values(trials, column))}")
    # All code contains the shared code: where that differs, it has been said.
    codes = [str(code).partition(OWN) for code in trials["code"]]
    split = trials.assign(code=[code for code, *_ in codes], own=[own for *_, own in codes])
    keys = ["shared_code", "method_name", "probe"]
    for (_, method, probe), part in split.groupby(keys, dropna=False):
        if part["code"].nunique() > 1:
            values = "; ".join(_values(part, "code"))
            found.append(f"the code of method {method} (probe {probe}) differs: {values}")
    own = split[split["own"] != ""]
    for (model, data), part in own.groupby(["model", "data"]) if len(own) else ():
        if part["own"].nunique() > 1:
            values = "; ".join(_values(part, "own"))
            found.append(f"the files of model {model} and data {data} differ: {values}")
    return found


def check(trials: pd.DataFrame) -> None:
    """Refuse trials that do not belong together.

    Raises:
        MixedError: if they differ; it names each field, its values, and how many trials have each.
    """
    found = differences(trials)
    if found:
        lines = "".join(f"\n  - {line}" for line in found)
        raise MixedError(f"these trials do not belong together:{lines}\n{_REMEDY}")


def _values(trials: pd.DataFrame, column: str) -> Iterator[str]:
    """`3f2a (12 trials, commit 0d9b571)`, the most frequent first."""
    named = trials[column].astype("object").fillna("not recorded").map(str)
    counts = named.value_counts()
    for value, count in list(counts.items())[:_SHOWN]:
        commits = sorted({str(name)[:7] for name in trials.loc[named == value, "commit"].dropna()})
        said = f", commit {' and '.join(commits)}" if commits else ""
        yield f"{value} ({count} trial{'s' if count > 1 else ''}{said})"
    if len(counts) > _SHOWN:
        yield f"and {len(counts) - _SHOWN} more"
