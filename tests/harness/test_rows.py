"""The schema of rows."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from harness.errors import RowError
from harness.rows import Row

GOOD: dict[str, Any] = {
    "metric": "mem.live_peak",
    "phase": "step",
    "unit": "B",
    "kind": "exact",
    "values": [4096, 8192.0],
}


def test_a_row_survives_json() -> None:
    row = Row.from_json(GOOD)
    assert Row.from_json(json.loads(json.dumps(row.to_json()))) == row
    assert row.values == (4096, 8192.0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"metric": "livepeak"}, "group.quantity"),
        ({"phase": "Whole step"}, "dotted module path"),
        ({"unit": "MiB"}, "'MiB' is not one of s, B"),
        ({"kind": "rough"}, "'rough' is not one of exact"),
        ({"values": []}, "no samples"),
        ({"values": [math.nan]}, "not finite"),
        ({"values": [0.5]}, "whole numbers"),
        ({"values": 3}, "not a row"),
        ({"values": ["3"]}, "not a row"),
    ],
)
def test_a_bad_row_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(RowError, match=words):
        Row.from_json(GOOD | change)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(RowError, match="unit"):
        Row.from_json({key: value for key, value in GOOD.items() if key != "unit"})
