"""What a probe is given and what it owes.

`trial.bench` builds one `Bench` from a trial's cell, in a fresh process that measures nothing
else, and hands it to one probe. The probe runs training steps through the bench and returns rows
and facts. It never imports the library under test, never formats and never summarises: rows hold
every sample. What cannot be measured here (no GPU, no `/proc`) is a fact, not an error; a figure
that would mislead is a `TrialError`, which makes the trial invalid.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor, nn

from harness.errors import TrialError
from harness.rows import Row
from harness.spec import Cell

PHASES: Final = ("forward", "backward", "update")
"""The parts of every training step."""

Phase = Callable[[str], AbstractContextManager[None]]
"""Entered around each stretch of "forward", "backward" and "update"; many times in one step."""


def unwatched(_: str) -> AbstractContextManager[None]:
    """A `Phase` that measures nothing."""
    return nullcontext()


@dataclass(frozen=True)
class Neuron:
    """One LIF layer: the path of its module in the model, and its constants."""

    path: str
    decay: float
    threshold: float
    reset: str


@dataclass(frozen=True)
class Bench:
    """One cell, built: a model in training mode on its device, bound to its method.

    Attributes:
        cell: what was asked for.
        device: where all tensors are.
        model: the user's model; the method's views share its tensors.
        optimizer: of `model`; the training budget's if the cell has one, else SGD with momentum
            0.9.
        x, y: the first training batch, `[T, B, ...]` and `[B]`.
        neurons: the LIF layers of `model`; other neurons have no place in the frozen reference.
        train_step: `train_step(x, y, phase)`: forward, backward, update, gradients zeroed in place
            (in phase "update"); returns the loss, detached.
        plain_forward: the same spiking forward of `x` without graph or trace.
        gradient: `gradient(method, x, y)`: add one step's gradient by the method of that name
            (None: the cell's) to the model's `.grad` and return the loss, detached. Nothing is
            updated: where a method updates at every time step, its gradients add up over the time
            steps instead. Running statistics move as in any training forward.
        rates: `rates(x)`: by path of the spiking layer, its firing rate at each time step, `[T]`:
            the mean over batch and units, in training mode and in the layout of the method; nothing
            moves.
        assumptions: `assumptions(x, y)`: by module path, figures on what rate-based
            backpropagation assumes of a batch, or why there is none (see `ratebp.assumptions`);
            nothing moves.
        infer: `infer(x)`: logits `[B, K]` in eval mode.
        batches: `batches(split, epoch)`: every `(x, y)` of "train" (in seeded order) or "test".
        updates_per_epoch: how many batches "train" has.
        as_written: like `train_step`, by the library's own operators whatever the cell's
            `execution`: compiled code and captured graphs show a dispatch mode nothing.
        operators: which implementation of the library's operators runs, the same for whatever is
            measured.
        phases: those of `PHASES` that `train_step` enters: a captured graph has none.
        uncounted: why nobody can count the cell's operators and live bytes, or None.
        ran: facts on how steps have really run so far: graphs compiled, breaks between them.
        alone: to be called once, when all is ready and before the first thing that a neighbour on
            this machine would disturb; returns when there is none.
        measured: to be called once the figures of the driver are at their peak and before any
            further measurement disturbs them: the parent then reads them.
    """

    cell: Cell
    device: torch.device
    model: nn.Module
    optimizer: torch.optim.Optimizer
    x: Tensor
    y: Tensor
    neurons: tuple[Neuron, ...]
    train_step: Callable[[Tensor, Tensor, Phase], Tensor]
    plain_forward: Callable[[], Tensor]
    gradient: Callable[[str | None, Tensor, Tensor], Tensor]
    rates: Callable[[Tensor], Mapping[str, Tensor]]
    assumptions: Callable[[Tensor, Tensor], Mapping[str, Mapping[str, float | str]]]
    infer: Callable[[Tensor], Tensor]
    batches: Callable[[str, int], Iterator[tuple[Tensor, Tensor]]]
    updates_per_epoch: int
    as_written: Callable[[Tensor, Tensor, Phase], Tensor]
    operators: str
    phases: tuple[str, ...] = PHASES
    uncounted: str | None = None
    ran: Callable[[], Mapping[str, Any]] = dict
    alone: Callable[[], None] = lambda: None
    measured: Callable[[], None] = lambda: None

    def step(self, phase: Phase = unwatched) -> Tensor:
        """One training step on the first batch."""
        return self.train_step(self.x, self.y, phase)

    def rehearse(self) -> None:
        """One training step of warm-up, to see whether figures of such steps mean something.

        Raises:
            TrialError: if the step leaves out a phase, or its loss is not finite.
        """
        seen: set[str] = set()

        @contextmanager
        def phase(name: str) -> Iterator[None]:
            seen.add(name)
            yield

        loss = float(self.step(phase))
        absent = [name for name in self.phases if name not in seen]
        if absent:
            raise TrialError(
                f"a training step never entered phase {' and '.join(map(repr, absent))}, so its "
                "cost cannot be told by phase; in the method's `step`, do all work inside `with "
                "context.phase(...)` and call `context.backward(loss)` for the backward"
            )
        if not math.isfinite(loss):
            raise TrialError(f"the loss of a training step is {loss}: nothing is being trained")

    def persistent(self) -> list[Tensor]:
        """What outlives a step: parameters, gradients, buffers, optimiser state, inputs, labels."""
        params = list(self.model.parameters())
        gradients = [p.grad for p in params if p.grad is not None]
        states = [value for state in self.optimizer.state.values() for value in state.values()]
        kept = [value for value in states if isinstance(value, Tensor)]
        return [*params, *gradients, *self.model.buffers(), *kept, self.x, self.y]


@dataclass(frozen=True)
class Reading:
    """What a probe found: rows, and facts about how it measured."""

    rows: tuple[Row, ...]
    facts: dict[str, Any] = field(default_factory=dict)


class Probe(ABC):
    """One kind of measurement; its trials are processes of their own."""

    @abstractmethod
    def measure(self, bench: Bench) -> Reading:
        """Measure one cell.

        Raises:
            TrialError: if the figures would mislead; the message says why.
        """
