"""Training for the cell's budget, shared by the probes that look at a trained model."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

from harness.errors import TrialError
from harness.spec import Training
from harness.trial.probe import Bench, unwatched

STAGES: Final = ("initial", "trained")
"""When a model is looked at: as it was built, and after the cell's budget."""

_COSINE: Final = "cosine"


def learning_rates(budget: Training, updates: int) -> Iterator[float]:
    """Learning rate of each of `updates` optimiser updates: constant, or half a cosine to 0."""
    for update in range(updates):
        shape = (1 + math.cos(math.pi * update / updates)) / 2
        yield budget.lr * (shape if budget.schedule == _COSINE else 1.0)


def budget_of(bench: Bench) -> Training:
    """The cell's budget.

    Raises:
        TrialError: if the cell has none.
    """
    if bench.cell.training is None:
        raise TrialError("this probe trains, and the cell has no budget: add [grid.training]")
    return bench.cell.training


def train(bench: Bench) -> list[list[float]]:
    """Train by the cell's method and budget; return the loss of every update, by epoch.

    Raises:
        TrialError: if the cell has no budget, or the loss stops being finite.
    """
    budget = budget_of(bench)
    schedule = learning_rates(budget, budget.epochs * bench.updates_per_epoch)
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


def stages(bench: Bench) -> Iterator[str]:
    """Yield each of `STAGES` with the model as it is then, training in between.

    What is run meanwhile is undone (see `undisturbed`), so that the training is the one that
    `train` alone would give.

    Raises:
        TrialError: as `train` does; a missing budget before anything is run.
    """
    budget_of(bench)
    initial, trained = STAGES
    with undisturbed(bench):
        yield initial
    train(bench)
    with undisturbed(bench):
        yield trained


@contextmanager
def undisturbed(bench: Bench) -> Iterator[None]:
    """Put back the model's buffers and gradients, and torch's random state, at the end."""
    parameters = list(bench.model.parameters())
    gradients = [p.grad for p in parameters]
    for parameter in parameters:
        parameter.grad = None
    with torch.random.fork_rng([bench.device] if bench.device.type == "cuda" else []):
        try:
            with buffers_kept(bench):
                yield
        finally:
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient


@contextmanager
def buffers_kept(bench: Bench) -> Iterator[None]:
    """Put the model's buffers, running statistics among them, back at the end."""
    kept = [(buffer, buffer.clone()) for buffer in bench.model.buffers()]
    try:
        yield
    finally:
        for buffer, before in kept:
            buffer.copy_(before)
