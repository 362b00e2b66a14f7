"""Reading a model's forward by running one time step of it on meta tensors: shapes are known.

Python runs as it is written, so control flow on shapes, flags and attributes is no obstacle; only
control flow on values is. Nothing is computed and nothing of the model is touched.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._mode_utils import no_dispatch

from ratebp.graph.arguments import (
    MOVED,
    called,
    has_tensors,
    meta,
    read_by,
    versions,
    without_devices,
)
from ratebp.graph.graph import Graph, modules_of
from ratebp.graph.memory import TensorNodes
from ratebp.graph.names import (
    FACTORIES,
    RANDOM_FACTORIES,
    SHAPE_OF_OTHER,
    SHAPED,
    SIZES,
    TELLING,
    name_of,
)
from ratebp.graph.node import Node
from ratebp.graph.operations import KNOWN, moved_statistics
from ratebp.graph.places import line_of_the_model, within_checkpoint
from ratebp.graph.symbolic import UnreadableError
from ratebp.graph.torch_modules import (
    arguments_of_module,
    name_of_module,
    writes_its_own_forward,
)
from ratebp.graph.written import Watch, copy_of
from ratebp.inputs import Inputs, by_name
from ratebp.neurons import Delay
from ratebp.roles import Role, role_of


def record(model: nn.Module, inputs: tuple[Tensor, ...]) -> Graph:
    """Read the forward of `model` for inputs of these shapes and types, one time step ``[B, ...]``.

    Raises:
        UnreadableError: where the forward fails on tensors without values.
    """
    return Recording(model).of(inputs)


class Recording:
    """Reads one model for several inputs on one copy, so state that a forward keeps persists.

    Args:
        model: what is read; it stays as it is.
    """

    def __init__(self, model: nn.Module) -> None:
        """Copy the model's tree, with tensors that have no values."""
        self._model = model
        with no_dispatch(), torch.inference_mode(False):
            self._tree = _meta_copy(model)

    def of(self, inputs: tuple[Tensor, ...], named: Mapping[str, Tensor] | None = None) -> Graph:
        """Return the graph for inputs of these shapes and types, one time step ``[B, ...]``.

        Args:
            inputs: in the order of the forward.
            named: those that it takes by name.

        Raises:
            UnreadableError: where the forward fails on tensors without values.
        """
        with no_dispatch(), torch.inference_mode(False), torch.enable_grad():
            watch = Watch(self._tree)
            try:
                nodes = self._run(inputs, named or {})
            except Exception as error:
                first = str(error).splitlines()[0] if str(error) else "no message"
                raise UnreadableError(f"{type(error).__name__}: {first}") from error
            finally:
                written, drawn = watch.written(), watch.drawn()
                watch.undo()
        modules, roles = modules_of(self._model)
        return Graph(tuple(nodes), modules, roles, None, written, watch.training_read, drawn)

    def _run(self, inputs: tuple[Tensor, ...], named: Mapping[str, Tensor]) -> list[Node]:
        delays = any(isinstance(m, Delay) for m in self._model.modules())
        late: dict[str, Tensor] = {}
        for _ in range(1 + delays):  # a Delay has nothing to say at the first step
            recorder = _Recorder(self._tree, late)
            with warnings.catch_warnings(action="ignore"):  # the real run gives them
                recorder.run(
                    tuple(torch.empty_like(x, device="meta") for x in inputs),
                    {name: torch.empty_like(x, device="meta") for name, x in named.items()},
                )
        return recorder.nodes


def _meta_copy(model: nn.Module) -> nn.Module:
    found = [*model.parameters(), *model.buffers()]
    return copy_of(model, {id(t): meta(t) for t in found})


class _Recorder(TorchFunctionMode):
    """Notes every operation on tensors, and every call of a leaf or of a torch module."""

    def __init__(self, tree: nn.Module, late: dict[str, Tensor]) -> None:
        super().__init__()
        self.nodes: list[Node] = []
        self._tree, self._late = tree, late
        self._memory = TensorNodes(self._made)
        self._forwards: list[tuple[nn.Module, Callable[..., Any]]] = []
        self._depth = 0
        copies = dict(tree.named_modules())
        self._buffers = [*tree.named_buffers()]
        for name, tensor in (*tree.named_parameters(), *tree.named_buffers()):
            node = Node("parameter", path=name, shape=tuple(tensor.shape))
            node.dtype = tensor.dtype
            self._memory.note(tensor, node)
        for path, module in copies.items():
            if role_of(module) is not None or _is_torchs(module):
                self._intercept(path, module)

    def run(self, inputs: tuple[Tensor, ...], named: Mapping[str, Tensor]) -> None:
        """Run the tree once."""
        for name, each in by_name(self._tree, Inputs(inputs, named)).items():
            self._results(each, self._made("input", path=name))
        try:
            with self, torch.device("meta"):
                out = self._tree(*inputs, **named)
        finally:
            for module, run in self._forwards:  # a second step has a recorder of its own
                module.__dict__["forward"] = run
        self._made("output", (self._memory.nodes_of(out),))

    def _intercept(self, path: str, module: nn.Module) -> None:
        run = module.forward
        self._forwards.append((module, run))

        def forward(*args: Any, **kwargs: Any) -> Any:
            if self._depth:
                return run(*args, **kwargs)
            return self._called(path, module, run, args, kwargs)

        module.__dict__["forward"] = forward
        if isinstance(module, Delay):
            module.__dict__["keep"] = lambda signal: self._late.update({path: signal})

    def _called(
        self, path: str, module: nn.Module, run: Callable[..., Any], args: Any, kwargs: Any
    ) -> Any:
        role = role_of(module)
        where, again = line_of_the_model(), within_checkpoint()
        if role is not None and writes_its_own_forward(module):
            first = len(self.nodes)
            run(*args, **kwargs)
            for each in self.nodes[first:]:
                each.inside = path
        with torch._C.DisableTorchFunction():
            return self._noted(path, module, run, args, kwargs, where, again)

    def _noted(
        self,
        path: str,
        module: nn.Module,
        run: Callable[..., Any],
        args: Any,
        kwargs: Any,
        where: str,
        again: bool,
    ) -> Any:
        role = role_of(module)
        args, kwargs = self._memory.without_values((args, kwargs))
        given, named = self._memory.nodes_of(args), self._memory.nodes_of(kwargs)
        name = "leaf" if role is not None else name_of_module(module)
        before = versions((args, kwargs))
        buffers = self._buffer_versions() if role is None else {}
        out = self._value(path, module, role, run, args, kwargs)
        if role is None:
            named = {**named, **self._memory.nodes_of(arguments_of_module(module))}
        node = self._made(name, given, named, path=path, role=role, module=module, where=where)
        node.again = again
        node.signal |= role is Role.NEURON
        node.opaque = role is None and name not in KNOWN
        if role is None:
            node.buffers = self._changed_since(buffers)
            self._note_changes(before, node, args)
        node.several = role is not None and not isinstance(out, Tensor | None)
        self._results(out, node)
        return out

    def _value(
        self,
        path: str,
        module: nn.Module,
        role: Role | None,
        run: Callable[..., Any],
        args: Any,
        kwargs: Any,
    ) -> Any:
        """Return a meta tensor like the module's output; its inner operations are not recorded."""
        if isinstance(module, Delay):
            return self._late.get(path)
        self._depth += 1
        try:
            with torch._C.DisableTorchFunction():
                if role in (Role.NEURON, Role.NORM, Role.DROPOUT):
                    return torch.empty_like(args[0])
                return run(*args, **kwargs)
        finally:
            self._depth -= 1

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = name_of(func)
        if not self._depth and name in TELLING:
            self._note_sizes(name, args)
        if self._depth or name in SIZES or name in ("set_", "requires_grad_"):
            return func(*args, **kwargs)
        args, kwargs = self._memory.without_values((args, kwargs))
        if name in MOVED:
            args, kwargs = without_devices(args), without_devices(kwargs)
        kwargs = {k: ("meta" if k == "device" else v) for k, v in kwargs.items()}
        where = line_of_the_model()
        given, named = self._memory.nodes_of(read_by(name, args)), self._memory.nodes_of(kwargs)
        if name in SHAPED or name in RANDOM_FACTORIES:
            given, named = (), {}
        before = versions((args, kwargs))
        out = args[0] if name in MOVED and len(args) == 1 else func(*args, **kwargs)
        node = self._made(called(name, args), given, named, where=where)
        node.opaque = name.removesuffix("_") not in KNOWN | FACTORIES | RANDOM_FACTORIES
        self._note_changes(before, node, args)
        if isinstance(out, Tensor) or has_tensors(out):
            self._results(out, node)
        return out

    def _note_sizes(self, name: str, args: Any) -> None:
        """Record which nodes an operation reads the shape or type of."""
        with torch._C.DisableTorchFunction():
            read = args[1:] if name in SHAPE_OF_OTHER else args[:1]
            for each in read:
                if isinstance(each, Tensor) and each.is_meta:
                    self._memory.node_of(each).sized = True

    def _note_changes(self, versions: list[tuple[Tensor, int]], node: Node, args: Any) -> None:
        """Record which of its arguments `node` changed."""
        changed = [tensor for tensor, version in versions if tensor._version != version]
        found = (*node.buffers, *moved_statistics(node), *self._memory.buffers(changed))
        node.buffers = tuple(dict.fromkeys(found))
        node.changes |= any(tensor is each for tensor in changed for each in args[:1])
        self._memory.change(changed, node)
        if node.changes and isinstance(args[0], Tensor):
            node.shape = tuple(args[0].shape)

    def _made(self, name: str, args: Any = (), kwargs: Any = None, **known: Any) -> Node:
        node = Node(name, args, kwargs, **known)
        self.nodes.append(node)
        return node

    def _results(self, out: Any, node: Node) -> None:
        """Record that `node` gave the tensors in `out`; each of several gets a node of its own."""
        if isinstance(out, Tensor):
            node.shape, node.dtype = tuple(out.shape), out.dtype
            self._memory.note(out, node)
        elif isinstance(out, Mapping):
            self._results(tuple(out.values()), node)
        elif isinstance(out, tuple | list):
            for place, each in enumerate(out):
                if isinstance(each, Tensor):
                    part = self._made("part", (node, place), where=node.where)
                    self._results(each, part)

    def _buffer_versions(self) -> dict[str, int]:
        return {name: b._version for name, b in self._buffers}

    def _changed_since(self, versions: Mapping[str, int]) -> tuple[str, ...]:
        now = self._buffer_versions()
        return tuple(name for name, version in now.items() if versions.get(name) != version)


def _is_torchs(module: nn.Module) -> bool:
    own = type(module).__module__.startswith(("torch.nn", "torch.ao.nn"))
    return own and not isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict)
