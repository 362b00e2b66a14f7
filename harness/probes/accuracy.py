"""Test accuracy after a fixed budget of training: the last epoch's, never the best one's."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from harness.errors import TrialError
from harness.probe import Bench, Probe, Reading, unwatched
from harness.rows import Row
from harness.spec import Training

_COSINE: Final = "cosine"


class Accuracy(Probe):
    """Trains by the cell's budget and evaluates on the whole test split at the same T."""

    def measure(self, bench: Bench) -> Reading:
        """Train, then evaluate once.

        Raises
        ------
        TrialError
            If the cell has no training budget, or the loss stops being finite.
        """
        budget = bench.cell.training
        if budget is None:
            raise TrialError("the probe 'accuracy' needs a training budget: add [grid.training]")
        start = time.perf_counter()
        losses = _train(bench, budget)
        seconds = time.perf_counter() - start
        accuracy, loss = _evaluate(bench)
        rows = (
            Row("acc.test", "test", "1", "outcome", (accuracy,)),
            Row("loss.train", "train", "1", "outcome", tuple(map(_mean, losses))),
            Row("loss.test", "test", "1", "outcome", (loss,)),
            Row("time.train", "train", "s", "noisy", (seconds,)),
        )
        return Reading(rows, {"updates": sum(map(len, losses))})


def rates(budget: Training, updates: int) -> Iterator[float]:
    """Learning rate of each of `updates` optimiser updates: constant, or half a cosine to 0."""
    for update in range(updates):
        shape = (1 + math.cos(math.pi * update / updates)) / 2
        yield budget.lr * (shape if budget.schedule == _COSINE else 1.0)


def _train(bench: Bench, budget: Training) -> list[list[float]]:
    """Return the loss of every update, by epoch."""
    schedule = rates(budget, budget.epochs * bench.updates_per_epoch)
    history: list[list[float]] = []
    for epoch in range(budget.epochs):
        losses = []
        for x, y in bench.batches("train", epoch):
            rate = next(schedule)
            for group in bench.optimizer.param_groups:
                group["lr"] = rate
            losses.append(bench.train_step(x, y, unwatched))
        history.append(torch.stack(losses).tolist())  # waits for the device once an epoch
        _check(history[-1], done=epoch * bench.updates_per_epoch)
    return history


def _check(losses: list[float], done: int) -> None:
    for update, loss in enumerate(losses, start=done + 1):
        if not math.isfinite(loss):
            raise TrialError(f"loss became {loss} at update {update}")


def _evaluate(bench: Bench) -> tuple[float, float]:
    """Share of right answers and mean loss over the test split."""
    right: list[Tensor] = []
    losses: list[Tensor] = []
    for x, y in bench.batches("test", 0):
        logits = bench.infer(x).float()
        right.append(logits.argmax(1) == y)
        losses.append(cross_entropy(logits, y, reduction="none"))
    loss = torch.cat(losses).mean().item()
    if not math.isfinite(loss):
        raise TrialError(f"loss on the test split is {loss} after training")
    return torch.cat(right).double().mean().item(), loss


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
