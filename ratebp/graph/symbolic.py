"""Reading a model's forward without running it, by `torch.fx`: no shapes are needed."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from torch import fx, nn

from ratebp.graph.graph import Graph, modules_of
from ratebp.graph.names import (
    FACTORIES,
    RANDOM_FACTORIES,
    SHAPE_OF_OTHER,
    SHAPED,
    SIZES,
    TELLING,
    VIEWS,
    name_of,
)
from ratebp.graph.node import Node, Size
from ratebp.graph.operations import KNOWN, moved_statistics
from ratebp.graph.torch_modules import (
    arguments_of_module,
    name_of_module,
    writes_its_own_forward,
)
from ratebp.graph.tracing import ReadsValuesError, Tracer, alone
from ratebp.graph.written import Watch, copy_of
from ratebp.roles import Role


class UnreadableError(Exception):
    """The forward cannot be read without running it; the message says why.

    Attributes:
        values: whether running it without values would not help either.
    """

    values = False


SIZE = Size()


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
        code = Tracer().trace(tree)
        translation.follow(code)
    except Exception as error:
        unreadable = UnreadableError(_reason(error))
        unreadable.values = isinstance(error, ReadsValuesError)
        raise unreadable from error
    finally:
        written, drawn = watch.written(), watch.drawn()
        watch.undo()
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
        written,
        watch.training_read,
        drawn,
        sizes,
        len(contexts) > 1,
    )


def _in_place(node: fx.Node) -> bool:
    """Return whether `node` is a function called with ``inplace=True``."""
    if node.op != "call_function" or not inspect.isfunction(node.target):
        return False
    taken = inspect.signature(node.target).parameters
    if "inplace" not in taken:
        return False
    place = [*taken].index("inplace")
    given = node.args[place] if len(node.args) > place else node.kwargs.get("inplace", False)
    return bool(given)


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
        self._whole: dict[fx.Node, fx.Node] = {}  # what a view is a view of
        self._stale: dict[fx.Node, list[Node]] = {}  # changes of what shares memory with it

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
                return fx.node.map_arg(node.args[0], self._value)
            else:
                self.values[node] = self._translated(node, prefix)
        return None

    def _translated(self, node: fx.Node, prefix: str) -> Any:
        args = fx.node.map_arg(node.args, self._value)
        kwargs = fx.node.map_arg(node.kwargs, self._value)
        if node.op == "placeholder":
            if not node.users:
                return None
            return self._made(node, "input", (), {}, path=str(node.target))
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
        if name in TELLING:
            for each in node.all_input_nodes[name in SHAPE_OF_OTHER :]:
                if isinstance(self.values[each], Node):
                    self.values[each].sized = True
        sized = bool(inputs) and all(each is SIZE for each in inputs)
        if name in SHAPED or name in RANDOM_FACTORIES:
            return self._made(node, name, (), {})  # of their inputs they read the shape alone
        if name in SHAPE_OF_OTHER or name == "to":
            args = (args[0], *(each for each in args[1:] if not isinstance(each, Node)))
        elif name in FACTORIES and isinstance(args[0], Node) and name != "tensor":
            args = args[1:]
        if name in SIZES or (sized and name not in FACTORIES):
            return SIZE
        return self._operation(node, name, args, dict(kwargs))

    def _operation(self, node: fx.Node, name: str, args: Any, kwargs: dict[str, Any]) -> Node:
        made = self._made(node, name, args, kwargs)
        made.opaque = name.removesuffix("_") not in KNOWN | FACTORIES
        made.buffers = moved_statistics(made)
        made.changes |= _in_place(node)
        if node.all_input_nodes and name in VIEWS:
            source = node.all_input_nodes[0]
            self._whole[node] = self._whole.get(source, source)
        if made.changes:
            self._change(node.all_input_nodes[0], made)
        return made

    def _change(self, changed: fx.Node, by: Node) -> None:
        """Record that `by` changed `changed` in place, and what shares its memory."""
        if not isinstance(self.values[changed], Node):
            return
        if self.values[changed].name == "parameter":
            by.buffers = (self.values[changed].path,)
        whole = self._whole.get(changed, changed)
        for each in (whole, *(part for part, of in self._whole.items() if of is whole)):
            if each is not changed:
                self._stale.setdefault(each, []).append(by)
        self.values[changed] = by

    def _value(self, node: fx.Node) -> Any:
        """Return the value of `node`, changes in place included."""
        for change in self._stale.pop(node, ()):
            made = self._made(node, "overwritten", (self.values[node], change), {})
            made.changes = True
            self.values[node] = made
        return self.values[node]

    def _called(self, node: fx.Node, args: Any, kwargs: Any, prefix: str) -> Any:
        path = prefix + str(node.target)
        module = self.modules[path]
        role = self.roles.get(path)
        if role is not None:
            if writes_its_own_forward(module):
                first = len(self.nodes)
                self._inside(path, args, kwargs)
                for each in self.nodes[first:]:
                    each.inside = path
            made = self._made(node, "leaf", args, kwargs, path=path, role=role, module=module)
            made.signal |= role is Role.NEURON
            return made
        name = name_of_module(module)
        if alone(module) and not type(module).__module__.startswith("torch.nn"):
            return self._inside(path, args, kwargs)
        extra = {**kwargs, **arguments_of_module(module)}
        made = self._made(node, name, args, extra, path=path, module=module)
        made.opaque = name not in KNOWN
        if name in VIEWS or name == "identity":
            source = node.all_input_nodes[0]
            self._whole[node] = self._whole.get(source, source)
        if getattr(module, "inplace", False):
            made.changes = True
            self._change(node.all_input_nodes[0], made)
        return made

    def _inside(self, path: str, args: Any, kwargs: Any) -> Any:
        code = Tracer().trace(self.tree[path])
        return self.follow(code, f"{path}.", iter((*args, *kwargs.values())))

    def _made(self, node: fx.Node, name: str, args: Any, kwargs: Any, **known: Any) -> Node:
        made = Node(name, args, dict(kwargs), where=node.meta.get("where", ""), **known)
        made.again = node.meta.get("again", False)
        made.code = node
        self.nodes.append(made)
        return made
