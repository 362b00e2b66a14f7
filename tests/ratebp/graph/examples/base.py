"""A call of every operation of the table: several where arguments change kind or place."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Run = Callable[..., Any]
W = torch.linspace(-1.3, 0.9, 20).reshape(5, 4).double()
ROW = torch.tensor([0.5, -1.0, 2.0, 0.3]).double()
SQUARE = torch.linspace(-1, 1, 16).reshape(4, 4).double()
STACK = torch.linspace(-1, 1, 24).reshape(2, 4, 3).double()
MASK = torch.tensor([True, False, True, True])
PICK = torch.tensor([2, 0])
KERNEL = {n: torch.linspace(-1, 1, 4 * 2**n).reshape(2, 2, *(2,) * n).double() for n in (1, 2, 3)}


class Called(nn.Module):
    """One operation as a network, of one to three signals."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run

    def forward(self, x: Tensor) -> Any:
        return self.run(x)


class CalledOnTwo(Called):
    def forward(self, x: Tensor, y: Tensor) -> Any:  # type: ignore[override]
        return self.run(x, y)


class CalledOnThree(Called):
    def forward(self, x: Tensor, y: Tensor, z: Tensor) -> Any:  # type: ignore[override]
        return self.run(x, y, z)


@dataclass(frozen=True)
class Example:
    """One call.

    Attributes:
        name: of the operation, for messages.
        run: of signals ``[B, ...]``, or a module.
        shapes: of one sample of each signal.
        number: to tell several of one operation apart.
    """

    name: str
    run: Run
    shapes: tuple[tuple[int, ...], ...]
    number: int = 0

    def model(self) -> nn.Module:
        kind = (Called, CalledOnTwo, CalledOnThree)[len(self.shapes) - 1]
        return kind(self.run).double()

    def inputs(self, batch: int, seed: int) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(seed)
        return tuple(
            torch.randn(batch, *shape, generator=generator, dtype=torch.float64)
            for shape in self.shapes
        )

    def __str__(self) -> str:
        return f"{self.name}-{self.number}"


EXAMPLES: list[Example] = []


def _signals(run: Run) -> int:
    given = inspect.signature(run).parameters.values()
    return sum(each.default is each.empty for each in given)


def of(name: str, *runs: Run, shape: Any = (3, 4)) -> None:
    """Enter calls of an operation; `shape` is one for all signals, or a list of them."""
    for run in runs:
        count = 1 if isinstance(run, nn.Module) else _signals(run)
        shapes = tuple(shape) if isinstance(shape, list) else (shape,) * count
        EXAMPLES.append(Example(name, run, shapes, len(EXAMPLES)))


def functions(names: str, **more: Any) -> None:
    """Enter functions of one signal, under ``torch``, ``torch.nn.functional`` or of a tensor."""
    for name in names.split():
        found = getattr(torch, name, None) or getattr(F, name, None)
        run = found if found is not None else lambda x, name=name: getattr(x, name)()
        of(name, lambda x, run=run: run(x, **more))
