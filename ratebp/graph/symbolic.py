"""Reading a model's forward without running it, by `torch.fx`: no shapes are needed."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import fx, nn

from ratebp.graph.graph import Graph, modules_of
from ratebp.graph.node import Node
from ratebp.graph.operations import (
    FACTORIES,
    KNOWN,
    RANDOM_FACTORIES,
    SIZES,
    arguments_of_module,
    name_of,
    name_of_module,
)
from ratebp.graph.places import line_of_the_model, within_checkpoint
from ratebp.graph.written import Watch, copy_of
from ratebp.roles import Role, role_of


class UnreadableError(Exception):
    """The forward cannot be read without running it; the message says why.

    Attributes:
        values: whether running it without values would not help either.
    """

    values = False


class ReadsValuesError(Exception):
    """Control flow depends on the values of tensors."""


class _Size:
    """Stands for a number that depends on shapes, in the arguments of a node."""

    def __repr__(self) -> str:
        return "a size"


SIZE = _Size()


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


def _alone(module: nn.Module) -> bool:
    """Is it one module in the code, whose parameters belong to it alone?"""
    return next(module.children(), None) is None and next(module.parameters(), None) is not None


class _Tracer(fx.Tracer):
    """Stops at every leaf with a role and at torch's own modules; notes lines and checkpoints.

    It also stops at a module that has parameters and no children, so that code which is cut into
    pieces calls it as a whole; what it does is read apart.
    """

    proxy_buffer_attributes = True  # or a buffer would be changed for real

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        known = role_of(m) is not None or _alone(m)
        return known or super().is_leaf_module(m, module_qualified_name)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        node = super().create_node(*args, **kwargs)
        node.meta["where"] = line_of_the_model()
        node.meta["context"] = _context()
        node.meta["again"] = node.op == "call_module" and within_checkpoint()
        return node

    def to_bool(self, obj: fx.Proxy) -> bool:
        """Tell control flow on values from that on shapes, which is known with inputs."""
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


def read(model: nn.Module) -> Graph:
    """Read the forward of `model`, which stays as it is.

    Raises:
        UnreadableError: when `torch.fx` cannot trace it.
    """
    tree = copy_of(model)
    watch = Watch(tree)
    modules, roles = modules_of(model)
    translation = _Translation(modules, roles, dict(tree.named_modules()))
    try:
        code = _Tracer().trace(tree)
        translation.follow(code)
    except Exception as error:
        unreadable = UnreadableError(_reason(error))
        unreadable.values = isinstance(error, ReadsValuesError)
        raise unreadable from error
    for node in code.nodes:
        if node.op == "placeholder" and not node.users:  # a flag, whose default was taken
            code.erase_node(node)
    contexts = {node.meta["context"] for node in code.nodes}
    sizes = frozenset(node for node, value in translation.values.items() if value is SIZE)
    return Graph(
        tuple(translation.nodes),
        modules,
        roles,
        code,
        watch.written(),
        watch.training_read,
        sizes,
        len(contexts) > 1,
    )


def _context() -> tuple[bool, bool, bool]:
    return torch.is_grad_enabled(), torch.is_autocast_enabled("cpu"), torch.is_autocast_enabled()


def _reads_values(node: fx.Node) -> bool:
    """Does `node` depend on a tensor by anything but its shape, type or device?"""
    if node.op in ("placeholder", "call_module", "get_attr"):
        return True
    name = name_of(node.target)
    if name in SIZES or (name == "getattr" and node.args[1] in SIZES):
        return False
    return any(map(_reads_values, node.all_input_nodes))


def _reason(error: Exception) -> str:
    if isinstance(error, ReadsValuesError):
        return str(error)
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"


class _Translation:
    """Turns torch.fx's nodes, sizes and tensors alike, into nodes of signals."""

    def __init__(
        self,
        modules: dict[str, nn.Module],
        roles: dict[str, Role],
        tree: dict[str, nn.Module],
    ) -> None:
        self.modules, self.roles, self.tree = modules, roles, tree
        self.nodes: list[Node] = []
        self.values: dict[fx.Node, Any] = {}

    def follow(self, code: fx.Graph, prefix: str = "", given: Iterator[Any] | None = None) -> Any:
        """Translate `code`; return what it gives.

        Args:
            code: of the model, or of one module in it.
            prefix: of the names of parameters.
            given: what that module is called with; None for the model.
        """
        for node in code.nodes:
            if node.op == "placeholder" and given is not None:
                self.values[node] = next(given, None)
            elif node.op == "output" and given is not None:
                return fx.node.map_arg(node.args[0], self.values.__getitem__)
            else:
                self.values[node] = self._translated(node, prefix)
        return None

    def _translated(self, node: fx.Node, prefix: str) -> Any:
        args = fx.node.map_arg(node.args, self.values.__getitem__)
        kwargs = fx.node.map_arg(node.kwargs, self.values.__getitem__)
        if node.op == "placeholder":
            return self._made(node, "input", (), {}) if node.users else None
        if node.op == "output":
            return self._made(node, "output", args, {})
        if node.op == "get_attr":
            return self._made(node, "parameter", (), {}, path=prefix + str(node.target))
        if node.op == "call_module":
            return self._called(node, args, kwargs, prefix)
        name = name_of(node.target)
        if name == "getattr":
            name, args = str(args[1]), args[:1]
        inputs = [self.values[each] for each in node.all_input_nodes]
        sized = bool(inputs) and all(each is SIZE for each in inputs)
        if name in FACTORIES or (sized and name in RANDOM_FACTORIES):
            return self._made(node, name, (), {})  # of their inputs they read the shape alone
        if name in SIZES or sized:
            return SIZE
        return self._operation(node, name, args, dict(kwargs))

    def _operation(self, node: fx.Node, name: str, args: Any, kwargs: dict[str, Any]) -> Node:
        made = self._made(node, name, args, kwargs)
        made.opaque = name.removesuffix("_") not in KNOWN
        if made.changes:
            changed = node.all_input_nodes[0]
            if isinstance(self.values[changed], Node):
                if self.values[changed].name == "parameter":
                    made.buffers = (self.values[changed].path,)
                self.values[changed] = made  # whoever reads it later reads what it became
        return made

    def _called(self, node: fx.Node, args: Any, kwargs: Any, prefix: str) -> Any:
        path = prefix + str(node.target)
        module = self.modules[path]
        role = self.roles.get(path)
        if role is not None:
            made = self._made(node, "leaf", args, kwargs, path=path, role=role, module=module)
            made.signal |= role is Role.NEURON
            return made
        name = name_of_module(module)
        if _alone(module) and not type(module).__module__.startswith("torch.nn"):
            code = _Tracer().trace(self.tree[path])
            return self.follow(code, f"{path}.", iter((*args, *kwargs.values())))
        extra = {**kwargs, **arguments_of_module(module)}
        made = self._made(node, name, args, extra, path=path, module=module)
        made.opaque = name not in KNOWN
        made.changes |= bool(getattr(module, "inplace", False))
        return made

    def _made(self, node: fx.Node, name: str, args: Any, kwargs: Any, **known: Any) -> Node:
        made = Node(name, args, dict(kwargs), where=node.meta.get("where", ""), **known)
        made.again = node.meta.get("again", False)
        made.code = node
        self.nodes.append(made)
        return made
