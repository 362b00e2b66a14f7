"""The accuracy probe: budget, schedule, evaluation, and losses that are no numbers."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from probe_bench import bench

from harness import probes
from harness.errors import TrialError
from harness.probes.accuracy import rates
from harness.spec import Training

BUDGET = Training(epochs=3, lr=0.5, schedule="constant")


def test_the_rate_falls_along_half_a_cosine() -> None:
    seen = list(rates(Training(lr=0.4, schedule="cosine"), 4))
    assert seen == pytest.approx([0.4, 0.2 * (1 + math.sqrt(0.5)), 0.2, 0.2 * (1 - math.sqrt(0.5))])


def test_a_constant_rate_stays() -> None:
    assert list(rates(Training(lr=0.4, schedule="constant"), 3)) == [0.4] * 3


def test_training_learns_and_reports_the_last_epoch() -> None:
    made = bench(BUDGET)
    reading = probes.get("accuracy").measure(made)
    rows = {row.metric: row for row in reading.rows}
    assert {m: (r.phase, r.unit, r.kind) for m, r in rows.items()} == {
        "acc.test": ("test", "1", "outcome"),
        "loss.train": ("train", "1", "outcome"),
        "loss.test": ("test", "1", "outcome"),
        "time.train": ("train", "s", "noisy"),
    }
    losses = rows["loss.train"].values
    assert len(losses) == BUDGET.epochs
    assert losses[-1] < losses[0]
    assert reading.facts == {"updates": 12}
    right = [made.infer(x).argmax(1) == y for x, y in made.batches("test", 0)]
    assert rows["acc.test"].values == (torch.cat(right).double().mean().item(),)
    assert rows["acc.test"].values[0] > 0.5


def test_every_update_gets_its_rate() -> None:
    budget = replace(BUDGET, schedule="cosine")
    made = bench(budget)
    group = made.optimizer.param_groups[0]
    seen = []
    step = made.train_step
    object.__setattr__(made, "train_step", lambda *a: (seen.append(group["lr"]), step(*a))[1])
    probes.get("accuracy").measure(made)
    assert seen == list(rates(budget, 12))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_makes_the_trial_invalid(value: float) -> None:
    made = bench(BUDGET)
    losses = iter([1.0] * 6 + [value] * 6)
    object.__setattr__(made, "train_step", lambda *_: torch.tensor(next(losses)))
    with pytest.raises(TrialError, match=f"loss became {value} at update 7"):
        probes.get("accuracy").measure(made)


def test_a_test_loss_that_is_no_number_makes_the_trial_invalid() -> None:
    made = bench(BUDGET)
    object.__setattr__(made, "infer", lambda x: torch.full((5, 3), math.nan))
    with pytest.raises(TrialError, match="test split is nan"):
        probes.get("accuracy").measure(made)


def test_a_cell_without_a_budget_is_refused() -> None:
    with pytest.raises(TrialError, match=r"grid\.training"):
        probes.get("accuracy").measure(bench())
