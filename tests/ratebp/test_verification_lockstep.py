"""Time steps that run apart and meet where a norm needs them all."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ratebp.verification.lockstep import Lockstep, UnevenError


def test_steps_meet_and_go_on_in_order() -> None:
    met, seen, place = Lockstep(3), [], object()

    def step(now: Tensor) -> Tensor:
        seen.append(("before", int(now)))
        first = met.meet(place, now, lambda steps: steps.cumsum(0))
        seen.append(("after", int(now)))
        return met.meet(place, first, lambda steps: steps - steps.mean())

    out = met.run(step, torch.tensor([1.0, 2.0, 6.0]))
    torch.testing.assert_close(torch.stack(out), torch.tensor([1.0, 3.0, 9.0]) - 13 / 3)
    assert seen == [(word, number) for word in ("before", "after") for number in (1, 2, 6)]


def test_steps_that_do_not_meet_are_an_error() -> None:
    met = Lockstep(2)

    def step(now: Tensor) -> Tensor:
        return met.meet("there", now, lambda steps: steps) if now > 1 else now

    with pytest.raises(UnevenError):
        met.run(step, torch.tensor([2.0, 1.0]))
    with pytest.raises(UnevenError):
        (met := Lockstep(2)).run(lambda x: met.meet(object(), x, lambda s: s), torch.ones(2))


def test_an_error_in_one_step_ends_all() -> None:
    met = Lockstep(3)

    def step(now: Tensor) -> Tensor:
        met.meet(met, now, lambda steps: steps)
        raise KeyError(int(now))

    with pytest.raises(KeyError, match="4"):
        met.run(step, torch.tensor([4, 5, 6]))
