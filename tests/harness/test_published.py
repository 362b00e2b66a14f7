"""Published tables are read as the records that they were derived from."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from report_sample import write

from harness import report
from harness.errors import StoreError
from harness.results import published
from harness.results.store import Store

PUBLISHED = sorted((Path(__file__).parents[2] / "results" / "published").glob("*/trials.csv"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published run: the tables of one with records, and its environment."""
    whole = tmp_path_factory.mktemp("whole")
    write(whole, repeats=2)
    Store(whole).write_tables()
    folder = tmp_path_factory.mktemp("published") / "run"
    folder.mkdir()
    for name in published.TABLES:
        shutil.copy(whole / name, folder)
    shutil.copytree(whole / "environments", folder / "environments")
    return folder


def test_the_tables_are_those_of_the_records(run: Path, tmp_path: Path) -> None:
    write(tmp_path, repeats=2)
    there, derived = published.load(tmp_path), published.load(run)
    for name in ("trials", "measurements"):
        one, other = (
            table.astype(object).where(table.notna(), None)
            for table in (getattr(derived, name), getattr(there, name))
        )
        pd.testing.assert_frame_equal(one, other)


def test_a_report_of_published_tables_shows_the_same_verdict(run: Path, tmp_path: Path) -> None:
    write(tmp_path, repeats=2)
    pages = [report.write(each).path.read_text(encoding="utf-8") for each in (run, tmp_path)]
    verdicts = [page.partition('id="verdict"')[2].partition("</section>")[0] for page in pages]
    assert verdicts[0] == verdicts[1]
    assert "rate_m" in verdicts[0]


def test_an_axis_that_is_younger_than_the_tables_has_its_default(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "older"
    shutil.copytree(run, folder)
    path = folder / "trials.csv"
    pd.read_csv(path, dtype=str).drop(columns=["execution"]).to_csv(path, index=False)
    assert set(published.load(folder).trials["execution"]) == {"eager"}


@pytest.mark.parametrize("text", ["", "trial,sweep\nx,y\n"])
def test_a_damaged_table_is_named_with_its_remedy(run: Path, tmp_path: Path, text: str) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(run, folder)
    (folder / "trials.csv").write_text(text, encoding="utf-8")
    with pytest.raises(StoreError, match=r"trials\.csv cannot be read .*git checkout"):
        published.load(folder)


def test_a_folder_with_neither_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no results"):
        published.load(tmp_path)


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.parent.name)
def test_every_published_run_can_be_read(path: Path) -> None:
    tables = published.load(path.parent)
    assert set(tables.measurements["trial"]) <= set(tables.trials["trial"])
    assert len(tables.measurements) > len(tables.trials)
