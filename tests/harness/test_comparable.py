"""Trials of different machines, codes or meanings are refused, by name of what differs."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from harness.errors import HarnessError
from harness.results.comparable import check, differences


def _trials(*changes: dict[str, Any]) -> pd.DataFrame:
    plain = {"environment": "e1", "measurement": 2, "shared_code": "s1", "method_name": "rate_m"}
    plain |= {"code": "c1", "commit": "0d9b571aaaa", "probe": "time"}
    return pd.DataFrame([plain | change for change in changes])


def test_what_belongs_together_passes() -> None:
    others = ({"method_name": "bptt_m", "code": "c2"}, {"probe": "memory", "code": "c3"})
    trials = _trials({}, *others, {"commit": "207fc60bbbb"})
    assert differences(trials) == []
    check(trials)
    check(_trials({}).iloc[:0])
    check(_trials({"commit": None}, {"shared_code": "s1"}))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"environment": "e2"},
            "the environment (machine and software) differs: "
            "e1 (2 trials, commit 0d9b571); e2 (1 trial, commit 0d9b571)",
        ),
        ({"measurement": 1}, "the measurement version differs: 2 (2 trials, commit 0d9b571); 1"),
        (
            {"shared_code": "s2", "code": "c9", "commit": "207fc60bbbb"},
            "the code that all methods share (library and instrument) differs: "
            "s1 (2 trials, commit 0d9b571); s2 (1 trial, commit 207fc60)",
        ),
        ({"shared_code": None}, "differs: s1 (2 trials, commit 0d9b571); not recorded (1 trial"),
        ({"code": "c9"}, "the code of method rate_m (probe time) differs: c1 (2 trials"),
    ],
)
def test_the_field_that_differs_is_named(change: dict[str, Any], words: str) -> None:
    trials = _trials({}, {}, change)
    (found,) = differences(trials)
    assert words in found
    with pytest.raises(HarnessError, match="do not belong together") as caught:
        check(trials)
    assert found in str(caught.value)
    assert "--mix" in str(caught.value)


def test_every_difference_is_told_and_many_values_are_counted() -> None:
    trials = _trials(*({"environment": f"e{n}", "measurement": n % 2} for n in range(9)))
    environment, measurement = differences(trials)
    assert environment.endswith("; and 3 more")
    assert measurement.startswith("the measurement version differs: 0 (5 trials")
