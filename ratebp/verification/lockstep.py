"""All time steps of a model that is written for one, with places where they wait for each other.

A batch norm over T*B needs what all steps bring to it, and so does a neuron that sees the whole
sequence. Each step therefore runs in a thread of its own, one at a time and in order: step t runs
up to such a place, then step t+1 does, and after the last one the first goes on with the result.
The model itself stays ordinary code that knows one step.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class UnevenError(RuntimeError):
    """The steps of a sequence did not meet at the same places."""


class _GivenUpError(Exception):
    """Ends the thread of a step after another one failed."""


class Lockstep:
    """One sequence of T steps."""

    def __init__(self, timesteps: int) -> None:
        """Start before the first step."""
        self._timesteps = timesteps
        self._changed = threading.Condition()
        self._turn = 0
        self._own = threading.local()
        self._places: list[object] = []
        self._brought: list[Tensor] = []
        self._made: Tensor | None = None
        self._meetings = 0
        self._failed: BaseException | None = None

    def run(self, step: Callable[[Tensor], Any], x: Tensor) -> list[Any]:
        """Return ``step(x[t])`` of all steps of ``x [T, B, ...]``, run in lockstep.

        Raises:
            UnevenError: when the steps do not meet at the same places.
            Exception: whatever a step raised.
        """
        out: list[Any] = [x] * self._timesteps
        grad = torch.is_grad_enabled()

        def one(t: int) -> None:
            self._own.t = t
            try:
                with torch.set_grad_enabled(grad):
                    self._wait(t)
                    out[t] = step(x[t])
                    self._pass_on()
            except _GivenUpError:
                pass
            except BaseException as error:
                self._give_up(error)

        threads = [threading.Thread(target=one, args=(t,)) for t in range(self._timesteps)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._failed is not None:
            raise self._failed
        return out

    def meet(self, place: object, x: Tensor, together: Callable[[Tensor], Tensor]) -> Tensor:
        """Wait for all steps; return this step's share of ``together([T, ...])``.

        Args:
            place: which place this is.
            x: what this step brings.
            together: what is made of all of them, ``[T, ...] -> [T, ...]``.
        """
        t: int = self._own.t
        self._places.append(place)
        if self._places[0] is not place or len(self._brought) != t:
            raise UnevenError("the time steps do not meet at the same places")
        self._brought.append(x)
        meeting = self._meetings + 1
        if t == self._timesteps - 1:
            self._made = together(torch.stack(self._brought))
            self._places, self._brought = [], []
            self._meetings = meeting
        self._pass_on()
        self._wait(t)
        if self._made is None or self._meetings != meeting:
            raise UnevenError("some time steps ended while others waited for them")
        return self._made[t]

    def _pass_on(self) -> None:
        with self._changed:
            self._turn = (self._turn + 1) % self._timesteps
            self._changed.notify_all()

    def _wait(self, t: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._turn == t or self._failed is not None)
        if self._failed is not None:
            raise _GivenUpError

    def _give_up(self, error: BaseException) -> None:
        with self._changed:
            self._failed = self._failed or error
            self._changed.notify_all()
