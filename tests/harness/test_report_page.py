from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
from plotly.offline import get_plotlyjs, get_plotlyjs_version
from report_sample import METHODS, STEPS, write

from harness import report
from harness.errors import MixedError, ReportError, StoreError
from harness.report.payload import unpack
from harness.results.quantities import TIME
from harness.results.store import Store

NEW = "<script>alert(1)</script>"
PANELS = [
    "memory", "time", "phases", "growth", "energy", "work", "accuracy", "fidelity", "assumptions",
    "firing", "predictions", "drift",
]  # fmt: skip
VOID = {"meta", "input", "br", "link", "img", "path"}


class Page(HTMLParser):
    """Tags with attributes and text, in order; fails on a tag that is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("sample")
    write(folder, extra=NEW)
    return report.write(folder).path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def block(text: str, name: str) -> str:
    found = re.search(rf'<script type="application/gzip" id="{name}">(.*?)</script>', text, re.S)
    assert found
    return unpack(found[1])


def panels_of(text: str) -> dict[str, Any]:
    return dict(json.loads(block(text, "g0"))["panels"])


def variants(text: str) -> dict[str, Any]:
    return {key: panel["variants"] for key, panel in panels_of(text).items() if key != "trials"}


def test_page_asks_for_nothing_from_anywhere(page: Page) -> None:
    for _, attributes in page.tags:
        for name in ("src", "href", "srcset", "data", "action", "poster"):
            assert name not in attributes
    style = "".join(page.texts)
    assert "@import" not in style
    assert "url(" not in style
    (policy,) = [tag["content"] for tag in page.named("meta") if "http-equiv" in tag]
    assert str(policy).startswith("default-src 'none'")


def test_plotly_is_embedded_exactly_once(text: str) -> None:
    assert text.count(f"plotly.js v{get_plotlyjs_version()}") == 1
    assert block(text, "plotly") == get_plotlyjs()
    assert len(text.encode()) < 6e6


def test_every_figure_has_its_words_and_a_table_for_every_choice(text: str, page: Page) -> None:
    plots = [tag for tag in page.named("div") if tag.get("class") == "plot"]
    assert len(plots) == len(PANELS)
    assert all(tag["role"] == "img" and tag["aria-label"] for tag in plots)
    places = [tag["id"] for tag in page.named("article")]
    assert places == PANELS
    panels = panels_of(text)
    assert set(panels) == {*PANELS, "trials"}
    for key in PANELS:
        for variant in panels[key]["variants"].values():
            assert "<table>" in panels[key]["tables"][variant["table"]]
            assert variant["sentence"].endswith(".")
            assert go.Figure(variant["figure"]).data


def test_there_is_a_figure_for_every_combination_of_controls(text: str, page: Page) -> None:
    panels = variants(text)
    quantities = [json.loads(key)[0] for key in panels["time"]]
    assert set(quantities) == {quantity.key for quantity in TIME}
    assert len(panels["time"]) == 2 * len(TIME)
    assert {json.loads(key)[1] for key in panels["phases"]} == {str(T) for T in STEPS}
    controls = [tag["data-control"] for _, tag in page.tags if "data-control" in tag]
    assert controls[:8] == ["quantity", "view", "scale", "curve"] * 2
    assert controls[8:10] == ["what", "T"]


def test_every_control_has_a_name(page: Page) -> None:
    labels = {tag.get("for") for tag in page.named("label")}
    assert all(tag["id"] in labels for tag in page.named("select"))
    groups = [tag for tag in page.named("span") if tag.get("class") == "choice"]
    assert all(tag["role"] == "group" and tag["aria-label"] for tag in groups)


def test_every_method_can_be_switched(page: Page) -> None:
    boxes = [tag["value"] for tag in page.named("input")]
    assert sorted(map(str, boxes)) == sorted([*METHODS, NEW])


def test_a_name_that_looks_like_markup_is_text(text: str, page: Page) -> None:
    assert NEW not in text
    assert NEW in page.texts
    assert len(page.named("script")) == 4  # plotly, two blocks of data, our own
    tables = [table for panel in panels_of(text).values() for table in panel["tables"].values()]
    assert not [table for table in tables if NEW in table]


def test_header_says_what_was_measured_where_and_how_it_ended(page: Page) -> None:
    words = " ".join(page.texts)
    for part in ("sample", "AMD EPYC 7B13", "torch 2.13.0", "ffffffffff", "2026-01-02 03:04 UTC"):
        assert part in words
    chips = [tag["class"] for tag in page.named("li") if "class" in tag]
    assert chips == ["chip ok", "chip crash", "chip oom_cuda", "chip timeout"]


def test_one_group_needs_no_choice_and_two_get_one(tmp_path: Path, page: Page) -> None:
    fields = [tag["data-field"] for tag in page.named("select") if "data-field" in tag]
    assert fields == ["network", "data", "batch", "dtype", "device"]
    write(tmp_path, repeats=1, batches=(32, 64))
    text = report.write(tmp_path).path.read_text(encoding="utf-8")
    values = [tag["value"] for tag in Page(text).named("option")]
    assert {"32", "64"} <= set(values)
    assert json.loads(block(text, "g1"))["panels"].keys() == panels_of(text).keys()


@pytest.mark.parametrize("probe", ["time", "memory", "accuracy", "energy", "fidelity", "activity"])
def test_a_sweep_of_one_probe_has_a_report(tmp_path: Path, probe: str) -> None:
    write(tmp_path / "all", repeats=1)
    whole, part = Store(tmp_path / "all"), Store(tmp_path / "part")
    for path in (tmp_path / "all" / "trials").glob("*.json"):
        record = whole.record(path.stem)
        if record is not None and record["probe"] == probe:
            part.write_record({**record, "order": None, "seconds": None})
    panels = variants(report.write(tmp_path / "part").path.read_text(encoding="utf-8"))
    expected = {
        "time": {"time", "phases", "growth", "drift"},
        "memory": {"memory", "phases", "growth", "work", "predictions"},
        "accuracy": {"accuracy"},
        "energy": {"energy", "drift"},
        "fidelity": {"fidelity", "assumptions"},
        "activity": {"firing"},
    }
    assert set(panels) == expected[probe]


def test_nothing_to_report_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no results"):
        report.write(tmp_path)
    (tmp_path / "trials").mkdir()
    with pytest.raises(ReportError, match=r"no finished trial.*ratebp-bench run"):
        report.write(tmp_path)


def test_trials_that_do_not_belong_together_are_refused_unless_asked(tmp_path: Path) -> None:
    write(tmp_path, repeats=1)
    store = Store(tmp_path)
    path = next((tmp_path / "trials").glob("*.json"))
    record = store.record(path.stem)
    assert record is not None
    store.write_record({**record, "environment": "another"})
    told = r"the environment .* differs: 0123456789ab .*another[\s\S]*--mix"
    with pytest.raises(MixedError, match=told):
        report.write(tmp_path)
    mixed = report.write(tmp_path, mix=True)
    assert ["differs" in notice for notice in mixed.notices].count(True) == 1
    assert "another (1 trial, commit fffffff)" in mixed.path.read_text(encoding="utf-8")


def test_a_torn_record_is_told_on_the_page(tmp_path: Path) -> None:
    write(tmp_path, repeats=1)
    torn = next((tmp_path / "trials").glob("*.json"))
    torn.write_text("{", encoding="utf-8")
    found = report.write(tmp_path)
    assert any(torn.name in notice for notice in found.notices)
    assert torn.name in found.path.read_text(encoding="utf-8")


def test_a_method_that_grows_otherwise_than_declared_is_told(tmp_path: Path) -> None:
    write(tmp_path, repeats=1)  # declares every method constant
    told = [notice for notice in report.write(tmp_path).notices if "declares constant" in notice]
    assert {notice.split()[0] for notice in told} == {"bptt_m"}  # bptt_s lacks the last T
