"""Following a forward through neurons that hand potentials on, and over a time-major input."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

from torch import fx, nn

from ratebp.importers.unrolled import UnrollingTracer
from ratebp.neurons import Neuron


class Handed(nn.Module):
    """Stands for a neuron while a forward is followed: called as a whole, at rest when asked."""

    def reset_mem(self) -> None:
        """Give the potential at rest, which every neuron of ours starts with."""

    init_leaky = reset_hidden = reset_mem


def stands_for_one(module: nn.Module) -> bool:
    """Is it a neuron of ours, or does it stand for one?"""
    return isinstance(module, Handed | Neuron)


class _Input(fx.Proxy):
    """A time-major input of known T: it has a length, and can be taken apart by steps."""

    timesteps: int

    def size(self, dim: int | None = None) -> Any:
        return self.timesteps if dim == 0 else self.__getattr__("size")(dim)

    def __len__(self) -> int:
        return self.timesteps

    def __iter__(self) -> Iterator[fx.Proxy]:
        parts: Any = self  # fx gives proxies their operators when it is imported
        return iter([parts[t] for t in range(self.timesteps)])

    def __getattr__(self, name: str) -> Any:
        if name == "shape":
            return _InputShape(self)
        return super().__getattr__(name)


class _InputShape:
    def __init__(self, of: _Input) -> None:
        self._of = of

    def __getitem__(self, dim: Any) -> Any:
        if not isinstance(dim, int):
            raise TypeError("a part of the input's shape is asked for at once")
        return self._of.size(dim)


class Follower(UnrollingTracer):
    """Calls neurons, and what stands for them, as wholes.

    Args:
        timesteps: T of a time-major input; None leaves its first size open.
    """

    def __init__(self, timesteps: int | None) -> None:
        """Keep T."""
        super().__init__(stands_for_one)
        self._timesteps, self._inputs = timesteps, 0

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """Return what knows T where it is the input."""
        if self._timesteps is None or node.op != "placeholder" or self._inputs:
            return super().proxy(node)
        self._inputs += 1
        made = _Input(node, self)
        made.timesteps = self._timesteps
        return made


def reads_input(node: fx.Node) -> bool:
    """Does it read an input of the forward?"""
    return any(each.op == "placeholder" for each in node.all_input_nodes)


def is_part(node: fx.Node) -> bool:
    """Is it one time step of the input, x[t]?"""
    source = node.args[0] if node.args else None
    part = node.target is operator.getitem and isinstance(node.args[1], int)
    return part and isinstance(source, fx.Node) and source.op == "placeholder"


def is_shape(node: fx.Node) -> bool:
    """Is it the shape of something?"""
    return node.target is getattr and node.args[1] == "shape"


def needed(graph: fx.Graph) -> dict[fx.Node, None]:
    """Return the nodes that the output is made of."""
    found: dict[fx.Node, None] = {}
    todo = [next(node for node in graph.nodes if node.op == "output")]
    while todo:
        near = todo.pop()
        if near not in found:
            found[near] = None
            todo.extend(near.all_input_nodes)
    return found
