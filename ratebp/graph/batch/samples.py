"""The places of the samples in a whole graph."""

from __future__ import annotations

from ratebp.graph.batch.call import ELSEWHERE, At, Call, Lost, Place
from ratebp.graph.batch.table import OF_SEVERAL, rule_of
from ratebp.graph.graph import Graph
from ratebp.graph.names import COPIES, FACTORIES, RANDOM_FACTORIES
from ratebp.graph.node import Node
from ratebp.neurons import Delay

_FILLED = ("zeros", "ones", "full", "empty")
_UNIFORM = {name for each in _FILLED for name in (each, f"{each}_like", f"new_{each}")}
_HELD = ("parameter", "constant")


class Samples:
    """The place of the samples at every node of a graph that has shapes.

    ::

        At(dim, inner)   dimension `dim`, of size B * inner, one sample after the other
        Lost(why)        they were mixed, or nothing is known of the operation
        None             the value has nothing to do with single samples

    A constant that is as large as the batch, ``torch.zeros(B, 3)``, has places too.
    """

    def __init__(self, graph: Graph, batch: int) -> None:
        """Follow them; the inputs have `batch` samples in dimension 0."""
        self._batch = batch
        self._places: dict[Node, Place] = {}
        for node in graph.nodes:
            self._places[node] = self._follow(node)

    def at(self, node: Node) -> Place:
        """Return the place of the samples of the value of `node`."""
        return self._places.get(node)

    def into(self, node: Node) -> Place:
        """Return the place of the samples of the first signal that `node` takes."""
        return next((self.at(each) for each in node.signals), None)

    def _follow(self, node: Node) -> Place:
        if node.name == "input" or (isinstance(node.module, Delay) and not node.tensors):
            return self._checked(At(0), node)
        places = [self.at(each) for each in node.tensors]
        for place in places:
            if isinstance(place, Lost):
                return place
        if not any(places):
            return self._of_constants(node)
        call = Call(node, self._batch, self.at)
        rule = rule_of(node)
        if len(call.placed) > 1 and rule not in OF_SEVERAL:
            return Lost(ELSEWHERE, node)
        return self._checked(rule(call), node)

    def _checked(self, found: At | str, node: Node) -> Place:
        if isinstance(found, str):
            return Lost(found, node)
        if node.shape is not None:
            fits = 0 <= found.dim < len(node.shape)
            if not fits or node.shape[found.dim] != self._batch * found.inner:
                return Lost("does not keep one entry a sample in any dimension", node)
        return found

    def _of_constants(self, node: Node) -> Place:
        """A constant of B * n entries: alike for all samples, or one that tells them apart."""
        shape = node.shape or ()
        wide = [dim for dim, size in enumerate(shape) if size and size % self._batch == 0]
        if not wide or node.name in _HELD or node.signal:
            return None
        alike = node.name in _UNIFORM or node.name in RANDOM_FACTORIES - {"randperm"}
        before = len(shape) - len(node.tensors[0].shape or ()) if node.tensors else 0
        # Copies of a whole row follow each other; copies of the rows themselves do not.
        copied = node.name in COPIES and all(shape[:before]) and node.name != "repeat_interleave"
        if len(wide) == 1 and (alike or copied):
            return At(wide[0], shape[wide[0]] // self._batch)
        made = "numbers the samples" if node.name in FACTORIES else "tells the samples apart"
        return Lost(made, node)
