"""Test accuracy after a fixed budget of training: the last epoch's, never the best one's."""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from harness.errors import TrialError
from harness.rows import Row
from harness.trial.probe import Bench, Probe, Reading
from harness.trial.training import train


class Accuracy(Probe):
    """Trains by the cell's budget and evaluates on the whole test split at the same T."""

    def measure(self, bench: Bench) -> Reading:
        """Train, then evaluate once.

        Raises:
            TrialError: if the cell has no training budget, or the loss stops being finite.
        """
        start = time.perf_counter()
        losses = train(bench)
        seconds = time.perf_counter() - start
        accuracy, loss = _evaluate(bench)
        rows = (
            Row("acc.test", "test", "1", "outcome", (accuracy,)),
            Row("loss.train", "train", "1", "outcome", tuple(map(_mean, losses))),
            Row("loss.test", "test", "1", "outcome", (loss,)),
            Row("time.train", "train", "s", "noisy", (seconds,)),
        )
        return Reading(rows, {"updates": sum(map(len, losses))})


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
