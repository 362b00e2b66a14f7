"""For tests of probes: a bench without the library, and a heap that is quick to collect."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from harness.spec import Cell, Choice, Training
from harness.trial.probe import Bench, Phase


class Linear:
    """A linear net that alternates its phases as online methods do; `log` notes what is run."""

    def __init__(self, log: list[str]) -> None:
        torch.manual_seed(0)
        self.log = log
        self.model = nn.Linear(6, 3)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.5, momentum=0.9)
        self.images = torch.randn(30, 6)
        self.labels = (self.images[:, 0] > 0).long()

    def train_step(self, x: Tensor, y: Tensor, phase: Phase) -> Tensor:
        self.log.append("step")
        losses = []
        for part, target in zip(x.chunk(2, 1), y.chunk(2), strict=True):
            with phase("forward"):
                losses.append(cross_entropy(self.model(part).mean(0), target))
            with phase("backward"):
                losses[-1].backward()
        with phase("update"):
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=False)
        return torch.stack(losses).detach().mean()

    def gradient(self, method: str | None, x: Tensor, y: Tensor) -> Tensor:
        self.log.append(f"gradient of {method}")
        loss = cross_entropy(self.model(x).mean(0), y)
        loss.backward()
        return loss.detach()

    def plain(self, x: Tensor) -> Tensor:
        self.log.append("plain")
        with torch.no_grad():
            return self.model(x).mean(0)

    def batches(self, split: str, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.arange(20) if split == "train" else torch.arange(20, 30)
        for index in order.roll(epoch).split(5):
            yield self.images[index].expand(2, 5, 6), self.labels[index]


def bench(training: Training | None = None, *, log: list[str] | None = None) -> Bench:
    """A bench of `Linear`: 4 training and 2 test batches of 5 at T=2."""
    net = Linear([] if log is None else log)
    x, y = next(net.batches("train", 0))
    return Bench(
        cell=Cell(Choice("none"), Choice("linear"), "none", 2, 5, training=training),
        device=torch.device("cpu"),
        model=net.model,
        optimizer=net.optimizer,
        x=x,
        y=y,
        neurons=(),
        train_step=net.train_step,
        plain_forward=lambda: net.plain(x),
        gradient=net.gradient,
        rates=lambda _: {},
        assumptions=lambda *_: {},
        infer=lambda x: net.model(x).mean(0),
        batches=net.batches,
        updates_per_epoch=4,
        measured=lambda: net.log.append("measured"),
        as_written=net.train_step,
        operators="torch",
    )


@contextmanager
def small_heap() -> Iterator[None]:
    """Leave everything that is loaded out of later collections, which the tracker starts."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
