"""Trials that get ready together: nobody measures before all are ready, and one at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from harness.run.exclusive import Turn, Turns

WAIT_S = 20


class Members:
    """Threads that take their turns; what they do is in `log`."""

    def __init__(self, count: int) -> None:
        self.turns = Turns(count)
        self.log: list[str] = []
        self.gone = [threading.Event() for _ in range(count)]
        self.go_on = [threading.Event() for _ in range(count)]
        self._threads: list[threading.Thread] = []

    def start(self, number: int) -> None:
        thread = threading.Thread(target=self._live, args=[number, self.turns.member(number)])
        thread.start()
        self._threads.append(thread)

    def end(self) -> None:
        for thread in self._threads:
            thread.join(WAIT_S)
            assert not thread.is_alive()

    def _live(self, number: int, turn: Turn) -> None:
        turn.take(self.gone[number])
        if not self.gone[number].is_set():
            self.log.append(f"{number} measures")
            assert self.go_on[number].wait(WAIT_S)
            self.log.append(f"{number} is over")
        turn.leave()


@pytest.fixture
def three() -> Members:
    return Members(3)


def until(condition: Callable[[], bool]) -> bool:
    """Whether it comes true within some seconds."""
    event = threading.Event()
    return any(condition() or event.wait(0.01) for _ in range(1000))


def test_nobody_measures_before_all_are_ready_then_one_by_one_in_order(three: Members) -> None:
    three.start(2)
    three.start(0)
    assert not until_soon(lambda: bool(three.log))
    three.start(1)
    assert until(lambda: three.log == ["0 measures"])
    assert not until_soon(lambda: len(three.log) > 1)
    for event in three.go_on:
        event.set()
    three.end()
    assert three.log == [f"{n} {what}" for n in range(3) for what in ("measures", "is over")]


def test_one_that_ends_before_its_turn_holds_up_nobody(three: Members) -> None:
    for event in three.go_on:
        event.set()
    three.start(0)
    three.start(2)
    three.turns.member(1).leave()
    three.end()
    assert three.log == ["0 measures", "0 is over", "2 measures", "2 is over"]


def test_one_that_is_killed_while_it_waits_returns_at_once_and_may_try_again(
    three: Members,
) -> None:
    turn = three.turns.member(2)
    gone = threading.Event()
    waiting = threading.Thread(target=turn.take, args=[gone])
    waiting.start()
    gone.set()
    turn.wake()
    waiting.join(WAIT_S)
    assert not waiting.is_alive()
    for event in three.go_on:
        event.set()
    three.start(0)
    three.start(1)
    assert not until_soon(lambda: bool(three.log)), "its second attempt is not ready"
    three.start(2)
    three.end()
    assert [line for line in three.log if "measures" in line] == [f"{n} measures" for n in range(3)]


def until_soon(condition: Callable[[], bool]) -> bool:
    """Whether it comes true within a tenth of a second."""
    event = threading.Event()
    return any(condition() or event.wait(0.01) for _ in range(10))
