"""Tracing a forward by `torch.fx`: leaves are single calls, changes in place are recorded."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import fx, nn

from ratebp.graph.names import OUT_OF_PLACE, SIZES, VIEWS, name_of
from ratebp.graph.places import line_of_the_model, within_checkpoint
from ratebp.roles import role_of


class ReadsValuesError(Exception):
    """Control flow depends on the values of tensors."""


class _Proxy(fx.Proxy):
    """A proxy that notes changes in place, which torch.fx takes for functional operations."""

    def _changed(self, target: Callable[..., Any], *others: Any) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", target, (self, *others), {})

    def __iadd__(self, other: Any) -> fx.Proxy:
        return self._changed(operator.iadd, other)

    def __isub__(self, other: Any) -> fx.Proxy:
        return self._changed(operator.isub, other)

    def __imul__(self, other: Any) -> fx.Proxy:
        return self._changed(operator.imul, other)

    def __itruediv__(self, other: Any) -> fx.Proxy:
        return self._changed(operator.itruediv, other)

    def __setitem__(self, index: Any, value: Any) -> None:
        self._changed(operator.setitem, index, value)


def alone(module: nn.Module) -> bool:
    """Return whether a module is one call in the code and owns its parameters alone."""
    return next(module.children(), None) is None and next(module.parameters(), None) is not None


class Tracer(fx.Tracer):
    """Stops at every leaf with a role and at torch's own modules; notes lines and checkpoints.

    It also stops at a module that has parameters and no children: code that is split into pieces
    then calls it as one module, and its own forward is traced separately.
    """

    proxy_buffer_attributes = True  # or a buffer would be changed for real

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Leaves, torch's modules and what has parameters of its own."""
        known = role_of(m) is not None or alone(m)
        return known or super().is_leaf_module(m, module_qualified_name)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """Return one that notes changes in place."""
        return _Proxy(node, self)

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        """Note the line of the model that asks for it, and whether it is inside a checkpoint."""
        node = super().create_node(*args, **kwargs)
        node.meta["where"] = line_of_the_model()
        node.meta["context"] = _context()
        node.meta["again"] = node.op == "call_module" and within_checkpoint()
        return node

    def to_bool(self, obj: fx.Proxy) -> bool:
        """Refuse control flow on values; control flow on shapes can be followed with inputs."""
        if _reads_values(obj.node):
            raise ReadsValuesError(f"control flow on the values of `{obj.node.name}`")
        return super().to_bool(obj)

    def create_args_for_root(self, root_fn: Any, *args: Any, **kwargs: Any) -> Any:
        """Take the default of every argument that has one: only signals are traced."""
        fn, given = super().create_args_for_root(root_fn, *args, **kwargs)
        parameters = [*inspect.signature(root_fn).parameters.values()]
        plain = all(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters)
        if plain and len(parameters) == len(given):
            known = [p.default for p in parameters]
            given = [
                default if k > 0 and default is not inspect.Parameter.empty else each
                for k, (each, default) in enumerate(zip(given, known, strict=True))
            ]
        return fn, given


def _context() -> tuple[bool, bool, bool]:
    return torch.is_grad_enabled(), torch.is_autocast_enabled("cpu"), torch.is_autocast_enabled()


def _reads_values(node: fx.Node) -> bool:
    """Return whether `node` depends on a tensor's values, not only on its shape, type or device."""
    if node.op in ("placeholder", "call_module", "get_attr"):
        return True
    name = name_of(node.target)
    if name in SIZES or (name == "getattr" and node.args[1] in SIZES):
        return False
    return any(map(_reads_values, node.all_input_nodes))


def changes_nothing_else(change: fx.Node, modules: Mapping[str, nn.Module]) -> bool:
    """Is ``a += b`` what ``a = a + b`` would be, since nobody else sees the old ``a`` change?

    Args:
        change: an operation in the code of a model.
        modules: of that model, by their dotted names.
    """
    if change.target not in OUT_OF_PLACE:
        return False
    changed = change.args[0]
    if not isinstance(changed, fx.Node) or _hands_on(changed, modules):
        return False
    others = [user for user in changed.users if user is not change]
    return not any(_hands_on(user, modules) or change < user for user in others)


def _hands_on(node: fx.Node, modules: Mapping[str, nn.Module]) -> bool:
    """Return whether the value may share memory with an argument."""
    if node.op == "call_module":
        return isinstance(modules[str(node.target)], _HAND_ON)
    return node.op != "placeholder" and name_of(node.target) in VIEWS | {"identity"}


_HAND_ON = (nn.Identity, nn.Flatten, nn.Unflatten, nn.Dropout, nn.ReLU)
