"""The accuracy probe: what it reports, and its evaluation."""

from __future__ import annotations

import math

import pytest
import torch
from probe_bench import bench

from harness.errors import TrialError
from harness.spec import Training
from harness.trial import probes

BUDGET = Training(epochs=3, lr=0.5, schedule="constant")


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


def test_a_test_loss_that_is_no_number_makes_the_trial_invalid() -> None:
    made = bench(BUDGET)
    object.__setattr__(made, "infer", lambda x: torch.full((5, 3), math.nan))
    with pytest.raises(TrialError, match="test split is nan"):
        probes.get("accuracy").measure(made)


def test_a_cell_without_a_budget_is_refused() -> None:
    with pytest.raises(TrialError, match=r"grid\.training"):
        probes.get("accuracy").measure(bench())
