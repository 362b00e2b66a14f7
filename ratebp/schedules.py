"""The order of passes over time: ordinary Python over views.

A schedule knows nothing of neurons. It gets views, a sequence ``x [T, B, ...]``, targets ``y
[B]``, a loss ``loss(logits [B, K], y) -> scalar`` and a `StepContext`, adds to the parameters'
`.grad`, and returns the loss and the mean logits, both detached. Of a model with several inputs, x
is `ratebp.inputs.Inputs`, which answers as one tensor; of one with several outputs, the logits are
the structure that it returns.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ratebp.errors import OptionError
from ratebp.inputs import each_of
from ratebp.phases import StepContext
from ratebp.structures import Output, detached, mapped, mean_of, unbound
from ratebp.views import View

Loss = Callable[[Any, Any], Tensor]
"""``loss(output, y) -> scalar``: of a tensor ``[B, K]``, or of the structure a model returns."""


@dataclass(frozen=True)
class Result:
    """What one step returns, detached.

    Attributes:
        loss: scalar, the value that was minimised (without any gradient scale).
        logits: ``[B, K]``, mean over the time steps; of a model that returns a tuple, a list or a
            dict, the same structure with the mean of each member.
    """

    loss: Tensor
    logits: Output


def mean_loss(steps: tuple[Output, ...], y: Tensor, loss: Loss) -> Tensor:
    """Return the loss of the mean output, ``loss(mean_t o[t], y)``."""
    return loss(mean_of(steps), y)


def per_step_loss(steps: tuple[Output, ...], y: Tensor, loss: Loss) -> Tensor:
    """Return the mean of the steps' losses, ``(1/T) sum_t loss(o[t], y)``."""
    return torch.stack([loss(o, y) for o in steps]).mean()


SEQUENCE_LOSSES = {"mean": mean_loss, "per_step": per_step_loss}


def _one(timesteps: int) -> float:
    return 1.0


def _inverse_t(timesteps: int) -> float:
    return 1.0 / timesteps


GRAD_SCALES: dict[str, Callable[[int], float]] = {"one": _one, "inverse_t": _inverse_t}


def layer_by_layer(view: View, x: Tensor) -> tuple[Output, ...]:
    """Run a view with time folded into the batch; return T outputs ``[B, K]``."""
    return unbound(view.over_time(x), len(x))


def step_by_step(view: View, x: Tensor) -> tuple[Output, ...]:
    """Run a single-step view over the sequence; return T outputs ``[B, K]``."""
    with view.sequence():
        return tuple(view(now) for now in x.unbind(0))


Forward = Callable[[View, Tensor], tuple[Output, ...]]


def whole_sequence(
    forward: Forward,
    view: View,
    x: Tensor,
    y: Tensor,
    loss: Loss,
    context: StepContext,
    loss_mode: str,
) -> Result:
    """Run all steps forward, then one backward through all of them."""
    with context.phase("forward"):
        steps = forward(view, x)
        value = SEQUENCE_LOSSES[loss_mode](steps, y, loss)
        logits = mean_of([detached(o) for o in steps])
    with context.phase("backward"):
        context.backward(value)
    return Result(value.detach(), logits)


class Tally:
    """Adds up loss and logits over the time steps, detached."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.loss: Tensor | None = None
        self.logits: Output = None

    def add(self, loss: Tensor, out: Output) -> None:
        """Count one step's scalar `loss` and its logits `out`, ``[B, K]``."""
        loss, out = loss.detach(), detached(out)
        # A copy even at the first step: what is stored must not depend on which step learns.
        self.loss = loss.clone() if self.loss is None else self.loss + loss
        first = self.logits is None
        self.logits = mapped(Tensor.clone, out) if first else mapped(torch.add, self.logits, out)

    def result(self, timesteps: int) -> Result:
        """Return the means over `timesteps`; at least one step must have been added."""
        assert self.loss is not None
        assert self.logits is not None
        return Result(self.loss / timesteps, mapped(lambda o: o / timesteps, self.logits))


def online(
    view: View,
    x: Tensor,
    y: Tensor,
    loss: Loss,
    context: StepContext,
    *,
    window: int = 1,
    update: bool = False,
) -> Result:
    """Run `window` steps forward, then one backward through them, with the per-step loss over T.

    The graph is cut after each window. Gradients of all windows accumulate, unless `update` applies
    each. Under DDP only the last backward synchronises, or each one if each is applied.
    """
    timesteps = x.shape[0]
    tally = Tally()
    with view.sequence():
        for start in range(0, timesteps, window):
            last = start + window >= timesteps
            with nullcontext() if last or update else view.no_sync():
                with context.phase("forward"):
                    losses = []
                    for now in x[start : start + window].unbind(0):
                        out = view(now)
                        losses.append(loss(out, y))
                        tally.add(losses[-1], out)
                    value = torch.stack(losses).sum() / timesteps
                    view.detach()
                with context.phase("backward"):
                    context.backward(value)
            if update:
                context.update()
    return tally.result(timesteps)


def sampled(
    view: View,
    x: Tensor,
    y: Tensor,
    loss: Loss,
    context: StepContext,
    learning: set[int],
    scale: float,
) -> Result:
    """Run all steps forward, and a backward right after each whose index is in `learning`.

    The loss of each learning step is multiplied by `scale`; the returned loss is the mean over all
    steps, without the scale.
    """
    tally = Tally()
    with view.sequence():
        for t, now in enumerate(x.unbind(0)):
            with nullcontext() if t == max(learning) else view.no_sync():
                with context.phase("forward"), torch.set_grad_enabled(t in learning):
                    out = view(now)
                    value = loss(out, y)
                    tally.add(value, out)
                if t in learning:
                    with context.phase("backward"):
                        context.backward(value * scale)
    return tally.result(x.shape[0])


def mean_input(x: Tensor) -> Tensor:
    """Return the mean over time of ``x [T, B, ...]``, with a graph where `x` asks for a gradient.

    Of several inputs, that of each.

    Raises:
        OptionError: for indices that change over time, which have no mean.
    """
    return each_of(x, _mean_input)


def _mean_input(x: Tensor) -> Tensor:
    if len(x) == 1 or (x.stride(0) == 0 and not x.requires_grad):
        return x[0]  # direct coding: every step is the mean
    if not x.is_floating_point():
        raise OptionError(
            f"the method takes the mean over time of its input, but indices ({x.dtype}) that "
            "change over time have none. Give it the same indices at every step "
            "(ratebp.direct(tokens, T)), or train with bptt_m or bptt_s."
        )
    return x.mean(0)


def _rate_input(x: Tensor) -> Tensor:
    # Indices go to embeddings alone, which have noted those of all steps.
    return _mean_input(x) if x.is_floating_point() else x[0]


def two_pass(
    forward: Forward,
    spikes: View,
    rates: View,
    x: Tensor,
    y: Tensor,
    loss: Loss,
    context: StepContext,
    grad_scale: float,
) -> Result:
    """Run the spike pass without a graph, then the mean input through the rate pass with one.

    The rate pass's gradient is multiplied by `grad_scale`; the returned loss is not.
    """
    with context.phase("forward"):
        with torch.no_grad():
            forward(spikes, x)
        logits = rates(each_of(x, _rate_input))
        value = loss(logits, y)
    with context.phase("backward"):
        context.backward(value if grad_scale == 1 else value * grad_scale)
    return Result(value.detach(), detached(logits))
