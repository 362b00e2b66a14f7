"""Count what a training method does with a batch, as exact functions of T."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import ratebp
from ratebp.method import Method
from ratebp.phases import StepContext

BATCH, CHANNELS, PIXELS, CLASSES = 2, (2, 4, 6), 4, 5
FITTED, VERIFIED = (2, 4), 8


class Synapses(TorchDispatchMode):
    """Counts the batches of one time step that the hidden convolution's operators see."""

    def __init__(self, weight: Tensor) -> None:
        """Recognise the layer by the shape of its `weight`, which no other layer has."""
        super().__init__()
        self.shape = weight.shape
        self.forward = self.by_weight = self.by_input = Fraction(0)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run `func`, counted."""
        if func is torch.ops.aten.convolution.default and args[1].shape == self.shape:
            self.forward += Fraction(len(args[0]), BATCH)
        if func is torch.ops.aten.convolution_backward.default and args[2].shape == self.shape:
            work = Fraction(len(args[0]), BATCH)
            self.by_input += work * args[-1][0]
            self.by_weight += work * args[-1][1]
        return func(*args, **(kwargs or {}))


class Passes(StepContext):
    """Counts how often the backward is started; withholds updates, which need an optimiser."""

    def __init__(self) -> None:
        """Start at zero."""
        super().__init__()
        self.backwards = 0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count."""
        self.backwards += name == "backward"
        yield

    def update(self) -> None:
        """Do nothing."""


def network(*after: nn.Module, before: Sequence[nn.Module] = (), **neuron: Any) -> nn.Sequential:
    """Return convolution, `before`, LIF, `after`, convolution, LIF, and a convolutional readout."""
    first, hidden, out = (
        nn.Conv2d(CHANNELS[0], CHANNELS[1], 3, padding=1),
        nn.Conv2d(CHANNELS[1], CHANNELS[2], 3, padding=1),
        nn.Conv2d(CHANNELS[2], CLASSES, 1),
    )
    kind = neuron.pop("kind", ratebp.LIF)
    body = [first, *before, kind(**neuron), *after, hidden, kind(**neuron)]
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), out, nn.Flatten())


@dataclass(frozen=True)
class Counts:
    """What one step does: hidden synapses by kind of work, and passes of the backward."""

    forward: Fraction
    by_weight: Fraction
    by_input: Fraction
    passes: Fraction


def count(method: Method, timesteps: int) -> Counts:
    """Train one batch and count."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = network()
        x = torch.randn(timesteps, BATCH, CHANNELS[0], PIXELS, PIXELS)
        bound, context = method.bind(model, timesteps), Passes()
        with Synapses(model[2].weight) as seen:
            bound.step(x, torch.arange(BATCH), context=context)
    return Counts(seen.forward, seen.by_weight, seen.by_input, Fraction(context.backwards))


@dataclass(frozen=True)
class Line:
    """``slope * T + offset``, exactly."""

    slope: Fraction
    offset: Fraction

    @classmethod
    def of(cls, name: str, values: dict[int, Fraction]) -> Line:
        """Fit at two T; raise ValueError where the others are not on the line."""
        a, b = FITTED
        slope = (values[b] - values[a]) / (b - a)
        line = cls(slope, values[a] - slope * a)
        if any(line.slope * t + line.offset != value for t, value in values.items()):
            raise ValueError(f"{name} is not a linear function of T: {values}")
        return line

    def __add__(self, other: Line) -> Line:
        """Return the sum."""
        return Line(self.slope + other.slope, self.offset + other.offset)

    def __str__(self) -> str:
        """Return for example "2T - 1"."""
        if not self.slope:
            return str(self.offset)
        top, bottom = self.slope.numerator, self.slope.denominator
        term = f"{'' if top == 1 else top}T" + ("" if bottom == 1 else f"/{bottom}")
        sign = "-" if self.offset < 0 else "+"
        return f"{term} {sign} {abs(self.offset)}" if self.offset else term


def lines(name: str, method: Method) -> dict[str, Line]:
    """Return every count of `Counts` as a function of T."""
    counted = {t: count(method, t) for t in (*FITTED, VERIFIED)}
    return {
        f.name: Line.of(f"{name}: {f.name}", {t: getattr(c, f.name) for t, c in counted.items()})
        for f in fields(Counts)
    }
