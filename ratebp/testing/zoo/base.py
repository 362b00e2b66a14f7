"""What a network of the zoo is, and how one is written down."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from zlib import crc32

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ratebp.encoding import direct
from ratebp.neurons import LIF
from ratebp.schedules import Loss

BATCH = 4
CLASSES = 3
_ENTRIES: dict[str, ZooEntry] = {}
Build = TypeVar("Build", bound=Callable[..., nn.Module])


class Net(nn.Module):
    """A network of named layers and a forward function ``forward(net, x)``."""

    def __init__(self, forward: Callable[[Any, Tensor], Any], **layers: Any) -> None:
        """Keep the function and set every layer, buffer or plain value as an attribute."""
        super().__init__()
        self._run = forward
        for name, layer in layers.items():
            if isinstance(layer, Tensor) and not isinstance(layer, nn.Parameter):
                self.register_buffer(name, layer)
            else:
                setattr(self, name, layer)

    def forward(self, x: Tensor) -> Any:
        """Run the function."""
        return self._run(self, x)


@dataclass(frozen=True)
class Case:
    """A float64 network in training mode, a sequence ``x [T, B, ...]`` and targets ``y``.

    Of a network with several inputs, x is a tuple of them.
    """

    model: nn.Module
    x: Any
    y: Tensor
    loss: Loss = F.cross_entropy


@dataclass(frozen=True)
class ZooEntry:
    """One network of the zoo.

    Attributes:
        name: a Python name.
        kind: in words: the one thing that it is about.
        theme: what the networks of its module have in common.
        build: returns the network for `timesteps`, which most ignore.
        shape: of one sample at one time step.
        ids: what integer inputs are below, or 0 for inputs that are real numbers.
        dense: shape of the places that each have a target, () for one a sample.
        constant: whether the input is the same at every step, as direct coding has it.
        asks: whether the input asks for its gradient.
        others: shapes of further inputs, which are real numbers.
        loss: of what the network returns; it takes classes.
    """

    name: str
    kind: str
    theme: str
    build: Callable[[int], nn.Module]
    shape: tuple[int, ...]
    ids: int = 0
    dense: tuple[int, ...] = ()
    constant: bool = False
    asks: bool = False
    others: tuple[tuple[int, ...], ...] = ()
    loss: Loss = F.cross_entropy

    def case(self, timesteps: int) -> Case:
        """Return the network with seeded weights and data; the global random state is kept."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(crc32(self.name.encode()))
            model = self.build(timesteps).double()
            with torch.no_grad():
                for parameter in model.parameters():
                    if parameter.dim() > 1:
                        parameter.mul_(2.5)  # so that all layers spike, and none always
            x: Any = self._inputs(timesteps)
            if self.others:
                x = (x, *(self._drawn(timesteps, shape) for shape in self.others))
            y = torch.randint(0, CLASSES, (BATCH, *self.dense))
        return Case(model.train(), x, y, self.loss)

    def _inputs(self, timesteps: int) -> Tensor:
        if self.ids:
            return torch.randint(self.ids, (timesteps, BATCH, *self.shape))
        if self.constant:
            return direct(torch.randn(BATCH, *self.shape, dtype=torch.float64), timesteps)
        return self._drawn(timesteps, self.shape)

    def _drawn(self, timesteps: int, shape: tuple[int, ...]) -> Tensor:
        x = torch.randn(timesteps, BATCH, *shape, dtype=torch.float64)
        return x.requires_grad_(self.asks)


def network(*shape: int, **about: Any) -> Callable[[Build], Build]:
    """Enter the decorated function, which builds a network for samples of `shape`, in the zoo.

    Its name is the network's, its docstring says the kind; it may take the number of time steps.
    """

    def entered(build: Build) -> Build:
        takes = bool(inspect.signature(build).parameters)
        name, kind = build.__name__, (inspect.getdoc(build) or "").rstrip(".")
        theme = (sys.modules[build.__module__].__doc__ or "").partition(".")[0]
        made = build if takes else lambda _: build()
        _ENTRIES[name] = ZooEntry(name, kind, theme, made, shape, **about)
        return build

    return entered


def entries() -> dict[str, ZooEntry]:
    """Return the networks that were entered, by name."""
    return dict(_ENTRIES)


def lif(**settings: Any) -> LIF:
    """Return a neuron that spikes in small networks, with a memory that matters."""
    return LIF(**{"decay": 0.6, "threshold": 0.4, "alpha": 2.0, **settings})


def two(forward: Callable[[Any, Tensor], Any], **more: Any) -> nn.Module:
    """Return a network of two spiking layers for inputs ``[B, 5]``; `more` adds or replaces."""
    layers = {
        "f0": nn.Linear(5, 6),
        "l0": lif(),
        "f1": nn.Linear(6, 6),
        "l1": lif(),
        "f2": nn.Linear(6, CLASSES),
    }
    return Net(forward, **{**layers, **more})


def plain(s: Any, x: Tensor) -> Any:
    """Run the layers of `two` in a chain."""
    return s.f2(s.l1(s.f1(s.l0(s.f0(x)))))
