"""Where signals are small whole numbers: spikes, and what moves, adds up or multiplies them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from torch import nn

from ratebp.graph.graph import Graph
from ratebp.graph.names import JOINS, MOVES
from ratebp.graph.node import Node
from ratebp.graph.operations import Kind

_LARGEST = frozenset({"max_pool1d", "max_pool2d", "max_pool3d", "relu"})
"""Their values are among those that they take."""
_ADDS_UP = frozenset({"col2im", "values"})
"""Moves that put several values, or others, in one place."""


class Count(NamedTuple):
    """A signal whose values are ``n / parts``, n a whole number from 0 to `largest`.

    `parts` is a power of two, so that no value is rounded.
    """

    largest: int
    parts: int = 1


def counts(graph: Graph, spiking: Callable[[Node], bool]) -> Mapping[Node, Count]:
    """Return the nodes whose values are whole numbers, or such parts of them.

    Args:
        graph: of the model.
        spiking: whether the call of a neuron gives 0 and 1 alone.
    """
    found: dict[Node, Count] = {}
    for node in graph.nodes:
        count = Count(1) if graph.is_neuron(node) and spiking(node) else None
        if node.role is None and not node.changes:
            count = _count(node, graph, [found.get(each) for each in node.signals])
        if count is not None:
            found[node] = count
    return found


def _count(node: Node, graph: Graph, taken: Sequence[Count | None]) -> Count | None:
    terms = [each for each in taken if each is not None]
    constants = any(not each.signal for each in node.tensors)
    if not terms or len(terms) < len(taken) or constants:
        return None
    two = len(terms) == len(node.args) == 2 and not node.kwargs
    if two and node.name == "add":
        parts = max(each.parts for each in terms)
        return Count(sum(each.largest * (parts // each.parts) for each in terms), parts)
    if two and node.name == "mul":
        return Count(terms[0].largest * terms[1].largest, terms[0].parts * terms[1].parts)
    if node.name in ("cat", "stack") or (node.name in _LARGEST and not node.several):
        return max(terms) if len({each.parts for each in terms}) == 1 else None
    return _of_one(node, graph, terms[0]) if len(terms) == 1 else None


def _of_one(node: Node, graph: Graph, count: Count) -> Count | None:
    if node.name == "avg_pool2d" and isinstance(node.module, nn.AvgPool2d):
        return _averaged(node.module, count)
    if node.name == "interpolate":
        functional = node.module is None
        return count if functional and node.option("mode", 3, "nearest") == "nearest" else None
    moved = node.name in MOVES - JOINS - _ADDS_UP or node.name == "pad"
    return count if moved and Kind.LINEAR in graph.kinds[node] else None


def _averaged(pool: nn.AvgPool2d, count: Count) -> Count | None:
    size = pool.kernel_size
    n = size * size if isinstance(size, int) else size[0] * size[1]
    whole = pool.padding in (0, (0, 0)) and not pool.ceil_mode and pool.divisor_override is None
    return Count(count.largest * n, count.parts * n) if whole and n & (n - 1) == 0 else None
