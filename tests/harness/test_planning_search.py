"""Searches along an axis against brute force."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.planning.search import SearchAxis, by_law, largest

CAP = 300
LINES = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 60)), min_size=1, max_size=4)


def _convex(lines: list[tuple[int, int]]) -> Callable[[int], int]:
    """A maximum of affine functions, as the count of bytes is."""
    return lambda point: max(start + slope * point for start, slope in lines)


def _brute(count: Callable[[int], int], room: int, cap: int = CAP) -> int:
    return max((point for point in range(1, cap + 1) if count(point) <= room), default=0)


@settings(deadline=None)  # a busy machine is no fault
@given(lines=LINES, rooms=st.lists(st.integers(0, 9000), min_size=1, max_size=6))
def test_the_answer_is_that_of_brute_force(lines: list[tuple[int, int]], rooms: list[int]) -> None:
    count = _convex(lines)
    axis = SearchAxis(count)
    for room in rooms:
        found = largest(axis, room, CAP)
        assert found.value == _brute(count, room)
        assert found.beyond == (found.value == CAP)
        assert found.at == (count(found.value) if found.value else None)
        assert found.above == (None if found.beyond else count(found.value + 1))
        assert found.rises


@settings(deadline=None)  # a busy machine is no fault
@given(st.lists(st.integers(0, 9), min_size=CAP, max_size=CAP), st.integers(0, 3000))
def test_counts_of_any_shape_that_rises_are_searched_too(steps: list[int], room: int) -> None:
    def count(point: int) -> int:
        return sum(steps[:point])

    assert largest(SearchAxis(count), room, CAP).value == _brute(count, room)


def test_six_cards_on_an_affine_axis_cost_two_counts_each_and_the_ends() -> None:
    asked: list[int] = []

    def count(point: int) -> int:
        asked.append(point)
        return 5_000 + 333 * point

    axis = SearchAxis(count)
    for room in (8_000, 16_000, 24_000, 40_000, 80_000, 141_000):
        largest(axis, room, 65_536)
    assert len(asked) == len(set(asked)) <= 2 + 6 * 2


def test_counts_that_fall_are_reported() -> None:
    axis = SearchAxis(lambda point: 100 - point if point < 50 else 10 * point)
    found = largest(axis, 400, CAP)
    assert axis(found.value) <= 400 < axis(found.value + 1)
    assert not found.rises


def test_within_what_is_counted_nothing_comes_from_the_law() -> None:
    found = by_law(SearchAxis(lambda T: 100 + 10 * T), 250, 1024, 32)
    assert (found.value, found.basis, found.at, found.above) == (15, "counted", 250, 260)


@pytest.mark.parametrize("kink", [0, 3, 9])
def test_beyond_what_is_counted_the_law_answers_like_brute_force(kink: int) -> None:
    def count(T: int) -> int:
        return 100 + 10 * T + max(0, 7 * (T - kink))

    asked: list[int] = []
    found = by_law(SearchAxis(lambda T: asked.append(T) or count(T)), 5000, 1024, 32)  # type: ignore[func-returns-value]
    assert found.value == _brute(count, 5000, 1024)
    assert (found.basis, found.at, found.above) == (
        "law",
        count(found.value),
        count(found.value + 1),
    )
    assert max(asked) == 32
    assert "17 B each" in found.notes[0]


def test_a_count_that_does_not_grow_fits_at_any_t() -> None:
    found = by_law(SearchAxis(lambda T: 500 if T > 1 else 400), 600, 1024, 32)
    assert (found.value, found.basis, found.beyond) == (1024, "law", True)


@pytest.mark.parametrize(
    "count", [lambda T: T * T, lambda T: 100 if T < 32 else 150], ids=["square", "jump at the end"]
)
def test_without_a_confirmed_law_the_search_stops(count: Callable[[int], int]) -> None:
    found = by_law(SearchAxis(count), 10_000, 1024, 32)
    assert (found.value, found.basis, found.beyond) == (32, "stopped", True)
    assert found.above is None
    assert "not searched beyond" in found.notes[0]


def test_a_cap_within_the_counted_range_is_the_end() -> None:
    found = by_law(SearchAxis(lambda T: T), 10_000, 16, 32)
    assert (found.value, found.basis, found.beyond) == (16, "counted", True)
