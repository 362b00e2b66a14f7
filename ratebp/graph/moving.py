"""Moves that only give a tensor another shape or another order of dimensions, and their way back.

A neuron works on each value alone, so it may run in front of such moves as well as behind them::

    f(moves(x)) = moves(f(x))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ratebp.graph.batch import At, Samples
from ratebp.graph.node import Node, Shape

_ORDERS = frozenset({"transpose", "permute", "movedim", "t", "T", "mT"})
_SHAPES = frozenset({"reshape", "view", "flatten", "unflatten", "squeeze", "unsqueeze"})
_SHAPES_OF_OTHER = frozenset({"view_as", "reshape_as"})
_NOTHING = frozenset({"contiguous", "identity", "clone"})


@dataclass(frozen=True)
class Move:
    """One move.

    Attributes:
        before: the shape that it takes; -1 for the dimension of the samples.
        after: the shape that it gives, likewise.
        order: the dimensions of `before` in the order of `after`; None where it reshapes.
    """

    before: Shape
    after: Shape
    order: tuple[int, ...] | None = None

    def there(self, x: Tensor) -> Tensor:
        """Move `x`."""
        return x.reshape(self.after) if self.order is None else x.permute(self.order)

    def back(self, x: Tensor) -> Tensor:
        """Undo the move."""
        if self.order is None:
            return x.reshape(self.before)
        return x.permute([self.order.index(d) for d in range(len(self.order))])


@dataclass(frozen=True)
class Moves:
    """All that lies between a norm and the one neuron that takes its output.

    Attributes:
        source: path of the norm.
        steps: the moves, in their order; the samples come first in what the norm gives.
    """

    source: str
    steps: tuple[Move, ...]

    def there(self, x: Tensor) -> Tensor:
        """Move what has the shape of the norm's output."""
        for step in self.steps:
            x = step.there(x)
        return x

    def back(self, x: Tensor) -> Tensor:
        """Give what the neuron takes the shape of the norm's output."""
        for step in reversed(self.steps):
            x = step.back(x)
        return x


def moves_before(leaf: Node, samples: Samples) -> Moves | None:
    """Return the moves between `leaf` and the one leaf before it, if nothing else is there.

    None where there is anything else, where a value on the way is taken by others, and where
    nothing moves.
    """
    steps: list[Move] = []
    node, near = leaf, leaf.args[0] if leaf.args else None
    while isinstance(near, Node) and near.users == [node] and not near.changes:
        if near.role is not None:
            found = samples.at(near)
            apart = isinstance(found, At) and (found.dim, found.inner) == (0, 1)
            return Moves(near.path, tuple(reversed(steps))) if steps and apart else None
        step = _step(near, samples)
        if step is None:
            return None
        steps += step
        node, near = near, near.args[0]
    return None


def _step(node: Node, samples: Samples) -> Sequence[Move] | None:
    """Return the move that `node` makes: none at all, one, or None where it is no move."""
    source = node.args[0] if node.args else None
    if not isinstance(source, Node) or node.dtype != source.dtype or node.several:
        return None
    if node.name in _NOTHING:
        return ()
    before, after = (_shape(each, samples) for each in (source, node))
    if before is None or after is None or source.shape is None:
        return None
    if node.name in _ORDERS and node.module is None:
        return (Move(before, after, _order(node, len(before))),)
    others = len(node.tensors) > 1 and node.name not in _SHAPES_OF_OTHER
    known = node.name in _SHAPES | _SHAPES_OF_OTHER and not others
    return (Move(before, after),) if known else None


def _shape(node: Node, samples: Samples) -> Shape | None:
    place = samples.at(node)
    if not isinstance(place, At) or node.shape is None or 0 in node.shape:
        return None
    return (*node.shape[: place.dim], -1, *node.shape[place.dim + 1 :])


def _order(node: Node, rank: int) -> tuple[int, ...]:
    strides = range(1, rank + 1)
    marked = torch.empty_strided((2,) * rank, tuple(strides), device="meta")
    if node.name in ("T", "mT"):
        moved = getattr(marked, node.name)
    else:
        moved = getattr(marked, node.name)(*node.args[1:], **node.kwargs)
    return tuple(stride - 1 for stride in moved.stride())
