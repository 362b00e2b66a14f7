"""The order of trials."""

from __future__ import annotations

from itertools import groupby, pairwise

from harness.run.trial_order import PROBE_ORDER, arrange
from harness.spec import PROBES, Cell, Choice
from harness.sweep.expand import Question

METHODS = ("a", "b", "c")
QUESTIONS = [
    Question(Cell(Choice.make(method), Choice.make("tiny"), "digits", T, 4), probe)
    for probe in ("memory", "time")
    for T in (1, 2, 4, 8, 16)
    for method in METHODS
]


def _groups(seed: int = 0, repeats: int = 2) -> list[tuple[tuple[int, str, int], str]]:
    """(repeat, probe, T) of each run of neighbours, with its methods in order."""
    arranged = arrange(QUESTIONS, repeats, seed)
    return [
        (key, "".join(question.cell.method.name for question, _ in group))
        for key, group in groupby(arranged, lambda item: (item[1], item[0].probe, item[0].cell.T))
    ]


def test_every_probe_has_a_place() -> None:
    assert set(PROBE_ORDER) == set(PROBES)


def test_each_question_once_a_repeat() -> None:
    arranged = arrange(QUESTIONS, 3, 0)
    assert len(arranged) == len(set(arranged)) == 3 * len(QUESTIONS)


def test_blocks_by_repeat_then_probe_with_methods_adjacent() -> None:
    groups = _groups()
    assert len(groups) == 2 * 2 * 5
    assert [key[:2] for key, _ in groups] == (
        [(0, "time")] * 5 + [(0, "memory")] * 5 + [(1, "time")] * 5 + [(1, "memory")] * 5
    )
    assert all(sorted(methods) == list(METHODS) for _, methods in groups)


def test_methods_rotate_from_group_to_group() -> None:
    first = [methods[0] for _, methods in _groups()]
    for repeat in (first[:10], first[10:]):
        assert all(repeat.count(method) >= 3 for method in METHODS)
        assert all(before != after for before, after in pairwise(repeat))
    assert first[0] != first[10]


def test_the_seed_decides_the_order() -> None:
    assert _groups(seed=0) == _groups(seed=0)
    assert _groups(seed=0) != _groups(seed=1)
    assert [T for (repeat, _, T), _ in _groups() if repeat == 0] != sorted([1, 2, 4, 8, 16] * 2)
