"""The largest whole number whose exact count fits, found by asking as seldom as possible.

The count as a function of the batch, or of T, is a maximum of affine functions (one for each moment
of the step at which the peak may lie), hence convex; but nothing here relies on that. A number is
returned only if it was counted and fits, and the next one was counted and does not; and all counts
that were made along the way are checked to rise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

Count = Callable[[int], int]
"""Exact count in bytes at a point of the axis; asked again at no cost."""


@dataclass(frozen=True)
class Reach:
    """How far one axis goes in a given room.

    Attributes:
        value: the largest point that fits; 0 if not even 1 does.
        basis: "counted": the value and its successor were counted exactly; "law": by the affine
            law that smaller points obey exactly; "stopped": the value fits, and nothing is known
            above it.
        beyond: whether the value is only the cap of the search, and fits.
        at, above: count at the value and one above it, where they are known.
        rises: whether all counts along the axis rise with it; where not, a larger point may fit as
            well.
        notes: what a reader must know.
    """

    value: int
    basis: str = "counted"
    beyond: bool = False
    at: int | None = None
    above: int | None = None
    rises: bool = True
    notes: tuple[str, ...] = ()


@dataclass
class SearchAxis:
    """Counts along one axis, kept for the next card."""

    count: Count
    known: dict[int, int] = field(default_factory=dict)

    def __call__(self, point: int) -> int:
        """Exact count at one point."""
        if point not in self.known:
            self.known[point] = self.count(point)
        return self.known[point]

    def rises(self) -> bool:
        """Whether no count made so far is below one at a smaller point."""
        counts = [self.known[point] for point in sorted(self.known)]
        return counts == sorted(counts)


def largest(axis: SearchAxis, room: int, cap: int) -> Reach:
    """Search 1 to `cap` by exact counts: interpolate, look next door, halve."""
    if axis(1) > room:
        return Reach(0, above=axis(1))
    if axis(cap) <= room:
        return Reach(cap, beyond=True, at=axis(cap), rises=axis.rises())
    # Earlier cards have left counts that narrow the range.
    low = max(point for point, count in axis.known.items() if count <= room and point < cap)
    high = min(point for point, count in axis.known.items() if count > room and point > low)
    step = 0
    while high - low > 1:
        guess = _guess(axis, room, low, high, step)
        low, high = (guess, high) if axis(guess) <= room else (low, guess)
        step += 1
    return Reach(low, at=axis(low), above=axis(high), rises=axis.rises())


def by_law(axis: SearchAxis, room: int, cap: int, counted_to: int) -> Reach:
    """Search by exact counts to `counted_to`, and beyond it by the line through the counts.

    The line goes through the last two points that are counted. It is a law only if at least one
    more sample lies on it exactly; else the search ends where counting does.
    """
    last = min(counted_to, cap)
    if axis(last) > room or last == cap:
        return largest(axis, room, last)
    line = _line(axis, last)
    if line is None:
        note = f"no affine law up to {last}: not searched beyond"
        return Reach(last, "stopped", beyond=True, at=axis(last), notes=(note,))
    slope, since = line
    note = f"affine from {since} to {last}, {slope} B each"
    value = cap if slope == 0 else min(cap, last + (room - axis(last)) // slope)
    at = axis(last) + slope * (value - last)
    above = None if value == cap else at + slope
    return Reach(value, "law", value == cap, at, above, axis.rises(), (note,))


def _line(axis: SearchAxis, last: int) -> tuple[int, int] | None:
    """Slope at the end of what is counted, and since which sample it holds; None if unconfirmed."""
    if last < 3:
        return None
    slope = axis(last) - axis(last - 1)
    since = last - 1
    for point in _samples(last - 1):
        if axis(last) - axis(point) != slope * (last - point):
            break
        since = point
    return None if slope < 0 or since == last - 1 else (slope, since)


def _samples(below: int) -> Iterator[int]:
    """Points by halves below a point, down to 2: at T = 1 methods skip work."""
    point = below // 2
    while point >= 2:
        yield point
        point //= 2


def _guess(axis: SearchAxis, room: int, low: int, high: int, step: int) -> int:
    """A point between: the chord's, then the neighbour that would end the search, then half-way."""
    if step % 4 == 3:
        return (low + high) // 2
    below, above = axis(low), axis(high)
    chord = low + (high - low) * (room - below) // (above - below)
    if chord > low:
        return min(chord, high - 1)
    return low + 1
