"""One operation of one forward."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import fx, nn

from ratebp.roles import Role

Shape = tuple[int, ...]
_NUMPY = {"dim": "axis", "keepdim": "keepdims", "dim0": "axis0", "dim1": "axis1"}


class Size:
    """Placeholder for a number that depends on shapes, in the arguments of a node."""

    def __repr__(self) -> str:
        """Return what it is."""
        return "a size"


class Node:
    """An operation, a leaf's call, the input, a parameter or the output; made while reading.

    Attributes:
        name: of the operation ("add"), or "input", "parameter", "constant", "leaf", "output".
        path: dotted name of the leaf or module that is called, or of the parameter; what the
            forward calls an input; else empty.
        role: of a leaf; None for everything else.
        module: the module that is called; None for functions.
        args: positional arguments, nodes in the place of tensors.
        kwargs: named arguments, likewise.
        where: the line of the model that asks for it, "net.py:12".
        shape: of its value, where it was read with shapes; None otherwise.
        signal: whether its value depends on the model's input.
        changes: whether it changes its first argument.
        buffers: names of the model's buffers that it changes.
        opaque: whether it is a module or a function that nothing is known of.
        users: the nodes that take its value, sizes left out.
        again: whether it runs within `torch.utils.checkpoint`.
        code: its node in the code of its graph; None where the graph has no code.
        sized: whether the forward asks for the shape or type of its value.
        inside: path of the leaf that it is a part of; empty for what the model itself calls.
        several: whether it gives anything but one tensor.
        dtype: of its value, where it was read with shapes and gives one tensor.
    """

    def __init__(
        self,
        name: str,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        *,
        path: str = "",
        role: Role | None = None,
        module: nn.Module | None = None,
        where: str = "",
        shape: Shape | None = None,
    ) -> None:
        """Record the call, and add it to the `users` of its arguments."""
        self.name = name
        self.args = args
        self.kwargs = kwargs or {}
        self.path = path
        self.role = role
        self.module = module
        self.where = where
        self.shape = shape
        self.changes = name.endswith("_") and not name.endswith("__")
        self.buffers: tuple[str, ...] = ()
        self.opaque = False
        self.again = False
        self.code: fx.Node | None = None
        self.sized = False
        self.inside = ""
        self.several = False
        self.dtype: torch.dtype | None = None
        self.users: list[Node] = []
        self.tensors = tuple(dict.fromkeys(nodes_in((args, self.kwargs))))
        self.signal: bool = name == "input" or any(each.signal for each in self.tensors)
        for each in self.tensors:
            each.users.append(self)

    @property
    def signals(self) -> list[Node]:
        """The arguments that are signals; one that is used twice is there twice."""
        return [each for each in nodes_in((self.args, self.kwargs)) if each.signal]

    @property
    def takes_sizes(self) -> bool:
        """Return whether an argument visibly depends on shapes."""
        return any(isinstance(each, Size) for each in _flat((self.args, self.kwargs)))

    def constants(self) -> list[Node]:
        """Return everything that its constant arguments were made of, parameters among them."""
        found: list[Node] = []
        todo = [each for each in self.tensors if not each.signal]
        while todo:
            near = todo.pop()
            found.append(near)
            todo.extend(near.tensors)
        return found

    def option(self, name: str, place: int, default: Any) -> Any:
        """Return the argument called `name` (or as NumPy calls it), or at `place`, or `default`."""
        for known in (name, _NUMPY.get(name, name)):
            if known in self.kwargs:
                return self.kwargs[known]
        return self.args[place] if len(self.args) > place else default

    def __repr__(self) -> str:
        """Return what and where."""
        return f"<{self.name} {self.path} {self.where}>"


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple | list):
        for each in value:
            yield from _flat(each)
    elif isinstance(value, dict):
        yield from _flat([*value.values()])
    elif isinstance(value, slice):
        yield from _flat((value.start, value.stop, value.step))
    else:
        yield value


def nodes_in(value: Any) -> Iterator[Node]:
    """Yield the nodes in nested arguments, in their order."""
    if isinstance(value, Node):
        yield value
    elif isinstance(value, tuple | list):
        for each in value:
            yield from nodes_in(each)
    elif isinstance(value, dict):
        for each in value.values():
            yield from nodes_in(each)
    elif isinstance(value, slice):
        yield from nodes_in((value.start, value.stop, value.step))
