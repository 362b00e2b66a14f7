"""The words and exit codes of a gate."""

from __future__ import annotations

import itertools

import pytest

from harness.gate.verdict import SEVERITY, Change, Exit, GateReport, Verdict, worst


def test_the_codes_are_the_documented_ones() -> None:
    assert [(int(code), code.words) for code in Exit] == [
        (0, "fine"),
        (1, "regression"),
        (2, "harness error"),
        (3, "rebaseline needed"),
        (4, "inconclusive"),
    ]
    assert sorted(SEVERITY) == list(Exit)


def test_a_proven_regression_stands_whatever_else_happened() -> None:
    for exits in itertools.permutations(Exit):
        assert worst(exits) is Exit.REGRESSION
    assert worst([Exit.FINE, Exit.INCONCLUSIVE]) is Exit.INCONCLUSIVE
    assert worst([Exit.HARNESS_ERROR, Exit.REBASELINE_NEEDED]) is Exit.HARNESS_ERROR
    assert worst([]) is Exit.FINE


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (Exit.FINE, {"same", "FASTER", "SAME"}),
        (Exit.REGRESSION, {"worse", "vanished", "refused", "failed", "SLOWER"}),
        (Exit.HARNESS_ERROR, {"unanswered"}),
        (Exit.REBASELINE_NEEDED, {"better", "new"}),
        (Exit.INCONCLUSIVE, {"INCONCLUSIVE", "VOID"}),
    ],
)
def test_every_verdict_has_its_code(code: Exit, words: set[str]) -> None:
    assert {str(verdict) for verdict in Verdict if verdict.exit is code} == words


def test_what_has_been_recorded_does_not_count() -> None:
    change = Change("cell", "mem.live_peak, step", 1, 2, Verdict.WORSE)
    assert GateReport("exact", "", (change,)).exit is Exit.REGRESSION
    assert GateReport("exact", "", (change,), accepted=True).exit is Exit.FINE
    assert GateReport("exact", "", own=Exit.HARNESS_ERROR).exit is Exit.HARNESS_ERROR
