"""Trials that must run alone get ready side by side, then are measured one by one.

A trial process spends seconds on imports, on building its network and on counting on fake tensors,
none of which is measured. Several do that side by side; each then sleeps until its turn. No turn
begins before all of them are ready, so whoever measures has the machine for itself.
"""

from __future__ import annotations

import threading
from typing import Final

LARGEST: Final = 4
"""Trials that get ready together at most: each holds a network in memory while it waits."""


class Turns:
    """The turns of some trials, in their order. Safe to use from several threads."""

    def __init__(self, members: int) -> None:
        """All are getting ready."""
        self._changed = threading.Condition()
        self._ready = [False] * members
        self._over = [False] * members

    def member(self, number: int) -> Turn:
        """The turn of one of them, by its place in the order."""
        return Turn(self, number)

    def take(self, number: int, gone: threading.Event) -> None:
        """See `Turn.take`."""
        with self._changed:
            self._ready[number] = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: gone.is_set() or self._comes(number))
            self._ready[number] = not gone.is_set()

    def leave(self, number: int) -> None:
        """See `Turn.leave`."""
        with self._changed:
            self._over[number] = True
            self._changed.notify_all()

    def wake(self) -> None:
        """See `Turn.wake`."""
        with self._changed:
            self._changed.notify_all()

    def _comes(self, number: int) -> bool:
        settled = (ready or over for ready, over in zip(self._ready, self._over, strict=True))
        return all(settled) and all(self._over[:number])


class Turn:
    """One trial's turn among others."""

    def __init__(self, turns: Turns, number: int) -> None:
        """Made by `Turns.member`."""
        self._turns = turns
        self._number = number

    def take(self, gone: threading.Event) -> None:
        """Say that the trial is ready, and wait until it may go on, or is `gone` (then `wake`)."""
        self._turns.take(self._number, gone)

    def wake(self) -> None:
        """Let a `take` see that its trial is gone."""
        self._turns.wake()

    def leave(self) -> None:
        """Say that the trial needs no turn any more, whether or not it took one."""
        self._turns.leave(self._number)
