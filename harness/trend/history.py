"""The history in git: one file a run, one figure a line; nothing is ever changed or appended to.

    results/history/2026-11-22T090300Z-1550abc124-34a8f086b83f.jsonl
                    when (UTC)        commit     environment

Two branches write different files, so they merge with no help.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from harness.errors import StoreError
from harness.results.store import Tables, write_text
from harness.trend.figures import Figure, summarise

FOLDER: Final = Path("results/history")
_COMMIT: Final = 10
_NONE: Final = "no-commit"


@dataclass(frozen=True)
class Series:
    """One figure over the runs of one environment, the oldest first.

    `commits` are short; None where a run was not in a checkout.
    """

    cell: str
    metric: str
    phase: str
    unit: str
    kind: str
    environment: str
    dates: tuple[str, ...]
    commits: tuple[str | None, ...]
    values: tuple[float, ...]


def keep(tables: Tables, folder: Path = FOLDER) -> list[Path]:
    """Keep the headline figures of a sweep's results, under the time when its last trial began.

    Raises:
        StoreError: as `add` does.
    """
    began = [datetime.fromisoformat(text) for text in tables.trials["started"]]
    return add(summarise(tables), max(began, default=datetime.now(UTC)), folder)


def add(figures: Sequence[Figure], when: datetime, folder: Path = FOLDER) -> list[Path]:
    """Keep the figures of one run: a file for each environment and commit among them.

    Raises:
        StoreError: if there is nothing to keep, or the disk refuses.
    """
    if not figures:
        raise StoreError(
            "there is no figure to keep: no trial ended well, or none measured a headline metric; "
            "run a sweep with the probes 'time' or 'memory' first"
        )
    groups: dict[tuple[str, str], list[Figure]] = {}
    for figure in figures:
        groups.setdefault((figure.commit or _NONE, figure.environment), []).append(figure)
    paths = []
    for (commit, environment), group in groups.items():
        name = f"{when.astimezone(UTC):%Y-%m-%dT%H%M%SZ}-{commit[:_COMMIT]}-{environment}.jsonl"
        text = "".join(json.dumps(asdict(figure), allow_nan=False) + "\n" for figure in group)
        write_text(folder / name, text)
        paths.append(folder / name)
    return paths


def read(folder: Path = FOLDER) -> list[Series]:
    """Every series of the history; a change of environment or measurement begins a new one.

    Raises:
        StoreError: if a file is damaged.
    """
    points: dict[tuple[object, ...], list[tuple[str, Figure]]] = {}
    for path in sorted(folder.glob("*.jsonl")):
        date = path.name[: path.name.find("Z-") + 1]
        for figure in _figures(path):
            key = (
                *(figure.cell, figure.metric, figure.phase, figure.unit, figure.kind),
                *(figure.environment, figure.measurement),
            )
            points.setdefault(key, []).append((date, figure))
    return [_series(found) for _, found in sorted(points.items(), key=lambda item: str(item[0]))]


def _series(found: Sequence[tuple[str, Figure]]) -> Series:
    first = found[0][1]
    return Series(
        *(first.cell, first.metric, first.phase, first.unit, first.kind, first.environment),
        dates=tuple(date for date, _ in found),
        commits=tuple(figure.commit and figure.commit[:_COMMIT] for _, figure in found),
        values=tuple(figure.value for _, figure in found),
    )


def _figures(path: Path) -> Iterable[Figure]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        # A newer version may know more of a figure than this one.
        known = Figure.__dataclass_fields__
        return [
            Figure(**{key: value for key, value in json.loads(line).items() if key in known})
            for line in lines
            if line.strip()
        ]
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise StoreError(
            f"{path} is damaged ({error}); restore it with `git checkout -- {path}`, or remove it"
        ) from error
