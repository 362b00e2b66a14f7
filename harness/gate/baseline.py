"""The recorded exact figures: a folder for each environment, a file a method, a line a figure.

    <baselines>/cpu-torch2.13-m2/sltt.csv

The folder's name is what figures must share to be equal: the device whose operators were counted,
the minor version of torch, the version of the measurement. Two branches that add a method each
write different files, and blank lines keep the cells of one file apart, so neither conflicts when
merged. A cell that its method refuses has one line, of metric `status`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator, Mapping
from dataclasses import astuple, dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

from harness.errors import StoreError
from harness.outcome import Outcome
from harness.results.store import write_text
from harness.rows import MEASUREMENT_VERSION
from harness.spec import Cell

DEVICE: Final = "cpu"
"""What the planner's processes count as: no other device is visible to them."""

STATUS: Final = ("status", "")
COLUMNS: Final = (
    *("method", "model", "data", "T", "batch", "dtype"),
    *("metric", "phase", "value", "unit"),
)


@dataclass(frozen=True, order=True)
class CellName:
    """The cell of a figure, as its columns name it."""

    method: str
    model: str
    data: str
    T: int
    batch: int
    dtype: str

    @classmethod
    def of(cls, cell: Cell) -> CellName:
        """Name a cell."""
        labels = cell.method.label, cell.model.label, cell.data.label
        return cls(*labels, cell.T, cell.batch, cell.dtype)

    @property
    def name(self) -> str:
        """The method without its options, which names the file."""
        return self.method.partition("(")[0]

    def __str__(self) -> str:
        """One line, for people."""
        where = f"{self.method} {self.model} {self.data}"
        return f"{where} T={self.T} B={self.batch} {self.dtype}"


@dataclass(frozen=True)
class RecordedFigure:
    """A whole number with its unit; for `STATUS` one of `harness.outcome.STATUSES`, without one."""

    value: int | str
    unit: str = ""


Figures = Mapping[tuple[str, str], RecordedFigure]
"""The figures of one cell by metric and phase."""


def environment() -> str:
    """What exact figures must share here, for example `cpu-torch2.13-m2`."""
    major, minor, *_ = metadata.version("torch").split(".")
    return f"{DEVICE}-torch{major}.{minor}-m{MEASUREMENT_VERSION}"


def figures(prediction: Outcome) -> Figures:
    """The figures of a cell as they are recorded."""
    if prediction.status != "ok":
        return {STATUS: RecordedFigure(prediction.status)}
    return {(r.metric, r.phase): RecordedFigure(int(r.values[0]), r.unit) for r in prediction.rows}


def lines(place: CellName, found: Figures) -> list[str]:
    """The lines of one cell, sorted by metric and phase."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for (metric, phase), figure in sorted(found.items()):
        writer.writerow((*astuple(place), metric, phase, figure.value, figure.unit))
    return text.getvalue().splitlines()


class Baseline:
    """The figures recorded for one environment.

    Raises:
        StoreError: from every method, if the disk refuses or a file is damaged.
    """

    def __init__(self, folder: Path) -> None:
        """Name the folder; nothing is touched yet."""
        self.folder = folder

    def exists(self) -> bool:
        """Whether anything is recorded."""
        return bool(self._files())

    def read(
        self, methods: Collection[str] = ()
    ) -> dict[CellName, dict[tuple[str, str], RecordedFigure]]:
        """The figures by cell, of some methods or of all."""
        found: dict[CellName, dict[tuple[str, str], RecordedFigure]] = {}
        for path in self._files():
            if methods and path.stem not in methods:
                continue
            for place, key, figure in _read(path):
                if found.setdefault(place, {}).setdefault(key, figure) is not figure:
                    raise _damaged(path, f"{place}: {' '.join(key)} is there twice")
        return found

    def write(self, found: Mapping[CellName, Figures], methods: Collection[str] = ()) -> None:
        """Record some methods afresh, or all, and drop the files of those that have no cell."""
        texts: dict[str, list[str]] = {}
        for place in sorted(found):
            texts.setdefault(place.name, []).extend(["", *lines(place, found[place])])
        for path in self._files():
            if path.stem not in texts and (not methods or path.stem in methods):
                _remove(path)
        for name, text in texts.items():
            heading = ",".join(COLUMNS)
            write_text(self.folder / f"{name}.csv", "\n".join([heading, *text]) + "\n")

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("*.csv"))


def _read(path: Path) -> Iterator[tuple[CellName, tuple[str, str], RecordedFigure]]:
    try:
        reader = csv.reader(path.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(path, str(error)) from error
    if next(reader, None) != list(COLUMNS):
        raise _damaged(path, f"its first line is not {','.join(COLUMNS)}")
    for row in filter(None, reader):
        try:
            method, model, data, T, batch, dtype, metric, phase, value, unit = row
            place = CellName(method, model, data, int(T), int(batch), dtype)
            figure = RecordedFigure(value if metric == STATUS[0] else int(value), unit)
        except ValueError as error:
            raise _damaged(path, f"line {reader.line_num}: {error}") from error
        yield place, (metric, phase), figure


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except OSError as error:
        raise StoreError(f"cannot remove {path}: {error.strerror}; remove it by hand") from error


def _damaged(path: Path, what: str) -> StoreError:
    return StoreError(
        f"{path} is no baseline: {what}. After a merge with conflicts, take either side and record "
        f"again with `ratebp-bench gate --exact --method {path.stem} --update`"
    )
