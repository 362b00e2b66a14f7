"""The budget loop, and that what is measured around it leaves the training as it was."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from probe_bench import bench
from torch import Tensor, nn

from harness.errors import TrialError
from harness.spec import Training
from harness.trial.probe import Phase
from harness.trial.training import STAGES, learning_rates, stages, train, undisturbed

BUDGET = Training(epochs=3, lr=0.5, schedule="constant")


def test_the_rate_falls_along_half_a_cosine() -> None:
    seen = list(learning_rates(Training(lr=0.4, schedule="cosine"), 4))
    assert seen == pytest.approx([0.4, 0.2 * (1 + math.sqrt(0.5)), 0.2, 0.2 * (1 - math.sqrt(0.5))])


def test_a_constant_rate_stays() -> None:
    assert list(learning_rates(Training(lr=0.4, schedule="constant"), 3)) == [0.4] * 3


def test_every_update_gets_its_rate_and_its_loss_is_kept_by_epoch() -> None:
    budget = replace(BUDGET, schedule="cosine")
    made = bench(budget)
    group = made.optimizer.param_groups[0]
    seen = []

    def train_step(x: Tensor, y: Tensor, phase: Phase) -> Tensor:
        seen.append(group["lr"])
        return made.train_step(x, y, phase)

    history = train(replace(made, train_step=train_step))
    assert seen == list(learning_rates(budget, 12))
    assert [len(losses) for losses in history] == [4, 4, 4]
    assert sum(history[-1]) < sum(history[0])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_makes_the_trial_invalid(value: float) -> None:
    losses = iter([1.0] * 6 + [value] * 6)
    made = replace(bench(BUDGET), train_step=lambda *_: torch.tensor(next(losses)))
    with pytest.raises(TrialError, match=f"loss became {value} at update 7"):
        train(made)


def test_a_cell_without_a_budget_is_refused_before_anything_runs() -> None:
    log: list[str] = []
    made = bench(log=log)
    with pytest.raises(TrialError, match=r"grid\.training"):
        train(made)
    with pytest.raises(TrialError, match=r"grid\.training"):
        next(stages(made))
    assert log == []


def test_stages_are_before_and_after_the_same_training_as_alone() -> None:
    alone, staged = bench(BUDGET), bench(BUDGET)
    train(alone)
    start = {name: p.detach().clone() for name, p in staged.model.named_parameters()}
    seen = []
    for stage in stages(staged):
        seen.append(stage)
        unchanged = [torch.equal(start[n], p) for n, p in staged.model.named_parameters()]
        assert all(unchanged) == (stage == "initial")
        staged.gradient(None, staged.x, staged.y)
        torch.rand(3)
    assert tuple(seen) == STAGES
    for mine, other in zip(staged.model.parameters(), alone.model.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_what_is_measured_meanwhile_leaves_no_trace() -> None:
    made = bench(BUDGET)
    norm = nn.BatchNorm1d(6)
    made.model.add_module("norm", norm)
    made.step()
    kept = [p.grad for p in made.model.parameters()]
    values = [None if g is None else g.clone() for g in kept]
    buffers = [b.clone() for b in made.model.buffers()]
    state = torch.random.get_rng_state()

    def disturb() -> None:
        with undisturbed(made):
            made.gradient(None, made.x, made.y)
            norm(made.x[0])
            torch.rand(3)
            assert not torch.equal(buffers[0], norm.running_mean)  # type: ignore[arg-type]
            raise RuntimeError("on the way")

    with pytest.raises(RuntimeError, match="on the way"):
        disturb()
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(map(torch.equal, made.model.buffers(), buffers))
    for parameter, grad, value in zip(made.model.parameters(), kept, values, strict=True):
        assert parameter.grad is grad
        assert grad is None or (value is not None and torch.equal(grad, value))
