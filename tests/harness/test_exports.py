"""Exports against the published shapes of the formats.

github-action-benchmark: its README, "customSmallerIsBetter": name, unit and value are required,
range and extra are optional texts. Bencher: the JSON schema at bencher.dev/bmf.json.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from report_sample import write as write_sample

from harness.results.store import load
from harness.trend.exports import bencher, github_action_benchmark, write
from harness.trend.figures import Figure, summarise

BMF: dict[str, Any] = {
    "type": "object",
    "patternProperties": {
        ".+": {
            "type": "object",
            "patternProperties": {
                ".+": {
                    "type": "object",
                    "properties": {
                        "value": {"type": "number"},
                        "lower_value": {"type": "number"},
                        "upper_value": {"type": "number"},
                    },
                    "required": ["value"],
                }
            },
        }
    },
}
GITHUB: dict[str, Any] = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "unit": {"type": "string"},
            "value": {"type": "number"},
            "range": {"type": "string"},
            "extra": {"type": "string"},
        },
        "required": ["name", "unit", "value"],
    },
}
TYPES = {"object": dict, "array": list, "string": str, "number": (int, float)}


def conform(value: Any, schema: dict[str, Any]) -> None:
    """The part of JSON schema that the two formats use; names that no rule covers are refused."""
    assert isinstance(value, TYPES[schema["type"]])
    assert not isinstance(value, bool)
    for item in value if "items" in schema else ():
        conform(item, schema["items"])
    for name, inner in value.items() if isinstance(value, dict) else ():
        assert name
        conform(inner, schema.get("properties", {}).get(name) or schema["patternProperties"][".+"])
    assert set(schema.get("required", ())) <= set(value if isinstance(value, dict) else ())


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> list[Figure]:
    folder = tmp_path_factory.mktemp("sample")
    write_sample(folder, repeats=3, methods=("bptt_m", "rate_m"))
    return summarise(load(folder))


@pytest.mark.parametrize(
    ("name", "schema"), [("bencher", BMF), ("github-action-benchmark", GITHUB)]
)
def test_the_document_has_the_published_shape(
    figures: list[Figure], name: str, schema: dict[str, Any]
) -> None:
    document = json.loads(write(figures, name))
    assert len(document) > 5
    conform(document, schema)


def test_the_check_of_shapes_can_fail() -> None:
    for bad in ({"a": {"b": {"lower_value": 1}}}, {"a": {"b": {"value": "1"}}}, {"a": 1}, []):
        with pytest.raises((AssertionError, KeyError)):
            conform(bad, BMF)
    with pytest.raises((AssertionError, KeyError)):
        conform([{"name": "a", "unit": "s"}], GITHUB)


def test_no_figure_is_lost_and_names_are_unique(figures: list[Figure]) -> None:
    names = [entry["name"] for entry in github_action_benchmark(figures)]
    assert len(names) == len(set(names)) == len(figures)
    assert sum(map(len, bencher(figures).values())) == len(figures)


def test_values_and_bounds_are_those_of_the_figures(figures: list[Figure]) -> None:
    for figure, entry in zip(figures, github_action_benchmark(figures), strict=True):
        measure = bencher(figures)[figure.cell][f"{figure.metric} ({figure.unit})"]
        assert entry["value"] == measure["value"] == figure.value
        assert measure["lower_value"] <= measure["value"] <= measure["upper_value"]
        assert f"environment {figure.environment}" in entry["extra"]


def test_names_fit_the_limits_of_bencher(figures: list[Figure]) -> None:
    for benchmark, measures in bencher(figures).items():
        assert len(benchmark) <= 1024
        assert all(len(measure) <= 64 for measure in measures)


def test_bytes_stay_whole_and_ranges_are_words(figures: list[Figure]) -> None:
    exact = next(figure for figure in figures if figure.metric == "mem.live_peak")
    exact = replace(exact, value=12345.0, low=12345.0, high=12345.0)
    (entry,) = github_action_benchmark([exact])
    assert json.dumps(entry["value"]) == "12345"
    assert entry["range"] == "exact"
    timed = replace(exact, kind="noisy", unit="s", value=0.5, low=0.25, high=0.75)
    assert github_action_benchmark([timed])[0]["range"] == "0.25 to 0.75"
    alone = replace(timed, low=0.5, high=0.5)
    assert github_action_benchmark([alone])[0]["range"] == "one process"
