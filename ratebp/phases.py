"""The interface between a method's schedule and the code that runs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from ratebp.errors import OptionError


class StepContext:
    """What a schedule asks of its caller during one `Bound.step`.

    The default runs the step and nothing else. A harness overrides `phase` to measure; a training
    loop overrides `backward` for a gradient scaler, and gives an optimiser to the methods that
    update at every time step (`Info.updates == "time step"`).

    Schedules enter "forward" and "backward" any number of times in a step, never nested.
    """

    def __init__(self, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Keep the optimiser for `update`."""
        self.optimizer = optimizer

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Return a context manager around one part of the phase `name`."""
        yield

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of the scalar `loss` to the parameters' `.grad`."""
        torch.autograd.backward(loss)

    def update(self) -> None:
        """Apply and clear the gradients: called by methods that update at every time step.

        Raises:
            OptionError: when there is no optimiser to do it.
        """
        if self.optimizer is None:
            raise OptionError(
                "this method updates at every time step: pass its optimiser, "
                "bound.step(x, y, context=ratebp.StepContext(optimizer)), and call no "
                "optimizer.step() of your own."
            )
        self.optimizer.step()
        self.optimizer.zero_grad()
