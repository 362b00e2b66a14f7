"""Which node each tensor is the value of, while a forward is recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ratebp.graph.arguments import is_named, meta
from ratebp.graph.node import Node


class TensorNodes:
    """Tensors and their nodes; what shares memory with a changed tensor changes with it.

    Args:
        made: adds an operation to the graph and returns it.
    """

    def __init__(self, made: Callable[..., Node]) -> None:
        """Know nothing."""
        self._made = made
        self._of: dict[int, tuple[Tensor, Node]] = {}  # tensors are held, so ids stay theirs
        self._sharing: dict[int, dict[int, Tensor]] = {}
        self._stale: dict[int, list[Node]] = {}

    def note(self, tensor: Tensor, node: Node) -> None:
        """`tensor` is the value of `node` from now on."""
        self._of[id(tensor)] = (tensor, node)
        self._sharing.setdefault(_memory(tensor), {})[id(tensor)] = tensor

    def node_of(self, tensor: Tensor) -> Node:
        """Return the node whose value `tensor` is by now.

        Raises:
            RuntimeError: for a tensor that no operation gave which could be seen.
        """
        known = self._of.get(id(tensor)) or self._same(tensor)
        if known is None:
            raise RuntimeError(
                "a tensor comes from code that cannot be followed, such as torch.jit"
            )
        node = known[1]
        for change in self._stale.pop(id(known[0]), ()):
            node = self._made("overwritten", (node, change), shape=node.shape)
            node.changes, node.where = True, change.where
            self._of[id(known[0])] = (known[0], node)
        return node

    def nodes_of(self, value: Any) -> Any:
        """Return `value` with nodes in the place of tensors."""
        if isinstance(value, Tensor):
            return self.node_of(value)
        if isinstance(value, list):
            return [self.nodes_of(each) for each in value]
        if isinstance(value, tuple):
            return tuple(map(self.nodes_of, value))
        if isinstance(value, dict):
            return {key: self.nodes_of(each) for key, each in value.items()}
        if isinstance(value, slice):
            parts = (value.start, value.stop, value.step)
            return slice(*map(self.nodes_of, parts))
        return value

    def without_values(self, value: Any) -> Any:
        """Return `value` with meta tensors in the place of those that hold values."""
        if isinstance(value, Tensor):
            if value.is_meta and type(value) in (Tensor, nn.Parameter):
                return value
            made, node = meta(value.detach()), Node("constant", shape=tuple(value.shape))
            node.dtype = made.dtype
            self.note(made, node)
            return made
        if isinstance(value, tuple | list) and not isinstance(value, torch.Size):
            parts = [self.without_values(each) for each in value]
            return type(value)(*parts) if is_named(value) else type(value)(parts)
        if isinstance(value, dict):
            return {key: self.without_values(each) for key, each in value.items()}
        return value

    def change(self, tensors: Iterable[Tensor], by: Node) -> None:
        """Let whoever reads later what shares memory with `tensors` read what it became."""
        for tensor in tensors:
            for other in self._sharing.get(_memory(tensor), {}):
                if other != id(tensor):
                    self._stale.setdefault(other, []).append(by)
            self.note(tensor, by)

    def buffers(self, tensors: Iterable[Tensor]) -> tuple[str, ...]:
        """Return the names of the buffers and parameters that any of `tensors` is a part of."""
        near = (self._sharing.get(_memory(tensor), {}) for tensor in tensors)
        found = (self._of[each][1] for group in near for each in group)
        return tuple(dict.fromkeys(_origin(node) for node in found if _origin(node)))

    def _same(self, tensor: Tensor) -> tuple[Tensor, Node] | None:
        """Find another object for the same entries: a custom function gave back what it took."""
        for other in self._sharing.get(_memory(tensor), {}).values():
            if _extent(other) == _extent(tensor):
                return self._of[id(other)]
        return None


def _origin(node: Node) -> str:
    while node.name in ("overwritten",) or (node.changes and node.tensors):
        node = node.tensors[0]
    return node.path if node.name == "parameter" else ""


def _memory(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _extent(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.shape, tensor.stride(), tensor.storage_offset(), tensor.dtype
