"""One operation's call as the rules see it: its arguments, and where their samples are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ratebp.graph.node import Node, Shape


@dataclass(frozen=True)
class At:
    """The samples are along `dim`, of size ``B * inner``, each one's `inner` items together.

    Attributes:
        dim: the dimension.
        inner: items a sample has along it.
        copies: whether a dimension in front of it holds copies of one input.
    """

    dim: int
    inner: int = 1
    copies: bool = False


@dataclass(frozen=True)
class Lost:
    """The samples are mixed, or their place is not known.

    Attributes:
        why: in words, to follow the operation's name.
        node: the operation.
    """

    why: str
    node: Node


Place = At | Lost | None
ELSEWHERE = "meets signals whose samples are in different dimensions"


class Call:
    """An operation, at least one of whose arguments has its samples somewhere.

    Attributes:
        node: the operation.
        batch: B.
        placed: the arguments that have samples, each once, with their places.
    """

    def __init__(self, node: Node, batch: int, at: Callable[[Node], Place]) -> None:
        """Look up the places of the arguments by `at`."""
        self.node = node
        self.batch = batch
        self._at = at
        places = ((each, at(each)) for each in node.tensors)
        self.placed = [(each, place) for each, place in places if isinstance(place, At)]

    @property
    def shape(self) -> Shape | None:
        """The shape of what comes out, None for several results."""
        return self.node.shape

    @property
    def first(self) -> tuple[At, Shape]:
        """The place and the shape of the first argument that has samples."""
        node, place = self.placed[0]
        return place, node.shape or ()

    def place(self, value: Any) -> At | None:
        """Return where the samples of an argument are, None where it has none."""
        place = self._at(value) if isinstance(value, Node) else None
        return place if isinstance(place, At) else None

    def option(self, name: str, at: int, default: Any) -> Any:
        """Return the argument called `name`, or at position `at`, or `default`."""
        return self.node.option(name, at, default)

    def dims(self, name: str, at: int, default: Any = None) -> list[int] | None:
        """Return given dimensions of the first argument, counted from 0; None if none is given."""
        rank = len(self.first[1])
        value = self.option(name, at, default)
        given = [*value] if isinstance(value, tuple | list) else [value]
        if not given or not all(type(each) is int for each in given):
            return None
        return [normal(each, rank) for each in given]

    def dim(self, name: str, at: int, default: Any = None) -> int | None:
        """Return one given dimension of the first argument, counted from 0, or None."""
        found = self.dims(name, at, default)
        return found[0] if found is not None and len(found) == 1 else None


Rule = Callable[[Call], "At | str"]
"""Says where the samples of the result are, or why they are lost."""


def normal(dim: int, rank: int) -> int:
    """Return `dim`, counted from 0."""
    return dim + rank if dim < 0 else dim


def ends(call: Call, nodes: list[Any]) -> tuple[int, int, bool] | None:
    """Return where the samples of all `nodes` are, counted from the end, as broadcasting does.

    Returns:
        The dimension below 0, how many items a sample has along it and whether any holds copies;
        None where they differ, or where what has no samples is as long as they are there.
    """
    found: set[tuple[int, int]] = set()
    copies = False
    for each in nodes:
        place = call.place(each)
        if place is not None:
            found.add((place.dim - len(each.shape), place.inner))
            copies |= place.copies
    if len(found) != 1:
        return None
    ((end, inner),) = found
    return None if any(_as_long(call, each, end) for each in nodes) else (end, inner, copies)


def _as_long(call: Call, value: Any, end: int) -> bool:
    own = value.shape or () if isinstance(value, Node) else ()
    return call.place(value) is None and len(own) + end >= 0 and own[end] != 1
