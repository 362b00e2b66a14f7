"""Which leaf comes after which, read once with `torch.fx` when a method is bound.

Nothing here runs a model: the graph only answers questions, such as which neuron stands behind a
synapse (its decay is the decay of the synapse's presynaptic trace).
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn

from ratebp.checks import refuse_outputs
from ratebp.errors import BindError
from ratebp.neurons import Recurrent
from ratebp.roles import Role, role_of


@dataclass(frozen=True)
class Wiring:
    """The neurons, synapses and norms of a model, and how signals reach them.

    Dropouts are among what signals go through; only their calls are counted.

    A path is the leaf's dotted name in the model. "Reach" means through any operations, other
    synapses and norms included, but never through a neuron.

    Attributes:
        calls: how often one forward calls each leaf.
        behind: for each leaf, the neurons that its output reaches.
        before: for each leaf, the neurons whose output reaches it.
        only_norms: the leaves all of whose direct consumers are norm leaves.
        sources: for a leaf, the leaves whose outputs, added up in this order and changed by nothing
            else, are its input; absent for any other input.
        readers: for a leaf, the leaves that take its output, alone or as a term of a sum; absent if
            anything else takes it, so that nobody else can change it in place.
        once: the leaves up to the first neurons, and these, if all operations before them treat
            samples alike or normalise them, and nothing else takes what they make: of a constant
            input, one time step of it stands for all. Empty otherwise.
        entrances: the modules that take the model's input as it is, if nothing else takes it; empty
            if anything else does, None if it is not known.
    """

    calls: Mapping[str, int]
    behind: Mapping[str, frozenset[str]]
    before: Mapping[str, frozenset[str]]
    only_norms: frozenset[str]
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    readers: Mapping[str, frozenset[str]] = field(default_factory=dict)
    once: frozenset[str] = frozenset()
    entrances: frozenset[str] | None = None


class RoleTracer(fx.Tracer):
    """Stop at every leaf that has a role, whatever package it comes from."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Say so of every module with a role."""
        return role_of(m) is not None or super().is_leaf_module(m, module_qualified_name)


class _Changed(fx.Proxy):
    """A proxy that notes ``+=``, which torch.fx takes for a functional addition."""

    def __iadd__(self, other: Any) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", operator.iadd, (self, other), {})


class _ChangeTracer(RoleTracer):
    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Changed(node, self)


def trace(model: nn.Module) -> Wiring:
    """Read the wiring of `model`.

    Raises:
        BindError: when `torch.fx` cannot trace the model's forward.
    """
    try:
        graph = _ChangeTracer().trace(model)
    except Exception as error:
        raise BindError(
            f"the forward of {type(model).__name__} cannot be traced by torch.fx ({error}). "
            "Remove control flow that depends on tensor values, or pass "
            "bind(..., wiring=ratebp.Wiring(...)) that says which neuron follows each synapse."
        ) from error
    refuse_outputs(type(model).__name__, graph)
    modules = dict(model.named_modules())
    all_roles = {path: role_of(module) for path, module in modules.items()}
    roles = {path: role for path, role in all_roles.items() if role is not Role.DROPOUT}
    called = Counter(str(n.target) for n in graph.nodes if n.op == "call_module")
    leaves = [n for n in graph.nodes if n.op == "call_module" and roles.get(n.target) is not None]

    def is_neuron(node: fx.Node) -> bool:
        return node.op == "call_module" and roles.get(str(node.target)) is Role.NEURON

    sums = _Sums({n: str(n.target) for n in leaves}, modules)
    return Wiring(
        calls={path: calls for path, calls in called.items() if all_roles[path] is not None},
        behind=_union((str(n.target), _reached(n, "users", is_neuron)) for n in leaves),
        before=_union((str(n.target), _reached(n, "all_input_nodes", is_neuron)) for n in leaves),
        only_norms=frozenset(str(n.target) for n in leaves if _feeds_only_norms(n, roles))
        - {str(n.target) for n in leaves if not _feeds_only_norms(n, roles)},
        sources=sums.sources(),
        readers=sums.readers(),
        once=_once(graph, modules, called),
        entrances=_entrances(graph),
    )


def _entrances(graph: fx.Graph) -> frozenset[str]:
    inputs = [node for node in graph.nodes if node.op == "placeholder"]
    readers = [user for node in inputs[:1] for user in node.users]
    calls = all(user.op == "call_module" and user.args == (inputs[0],) for user in readers)
    return frozenset(str(user.target) for user in readers) if calls else frozenset()


def _reached(node: fx.Node, attribute: str, is_neuron: Callable[[fx.Node], bool]) -> frozenset[str]:
    found: set[str] = set()
    seen: set[fx.Node] = set()
    todo: list[fx.Node] = list(getattr(node, attribute))
    while todo:
        near = todo.pop()
        if near in seen:
            continue
        seen.add(near)
        if is_neuron(near):
            found.add(str(near.target))
        else:
            todo.extend(getattr(near, attribute))
    return frozenset(found)


def _feeds_only_norms(node: fx.Node, roles: Mapping[str, Role | None]) -> bool:
    return bool(node.users) and all(
        user.op == "call_module" and roles.get(str(user.target)) is Role.NORM for user in node.users
    )


class _Sums:
    """Follows outputs of leaves through functional additions and `nn.Identity`, nothing else."""

    def __init__(self, leaves: Mapping[fx.Node, str], modules: Mapping[str, nn.Module]) -> None:
        self._modules = modules
        calls = Counter(leaves.values())
        self._leaves = {node: path for node, path in leaves.items() if calls[path] == 1}

    def _passes(self, node: fx.Node) -> bool:
        if node.op == "call_module":
            return type(self._modules[str(node.target)]) is nn.Identity
        return (
            node.op == "call_function"
            and node.target in (operator.add, torch.add)
            and len(node.args) == 2
            and not node.kwargs
        )

    def _terms(self, value: Any) -> tuple[str, ...] | None:
        if not isinstance(value, fx.Node):
            return None
        if value in self._leaves:
            return (self._leaves[value],)
        if not self._passes(value):
            return None
        parts = [self._terms(each) for each in value.args]
        return None if None in parts else tuple(path for part in parts for path in part or ())

    def sources(self) -> dict[str, tuple[str, ...]]:
        found = {p: self._terms(n.args[0] if n.args else None) for n, p in self._leaves.items()}
        return {path: terms for path, terms in found.items() if terms is not None}

    def _takers(self, node: fx.Node) -> frozenset[str] | None:
        found: frozenset[str] = frozenset()
        for user in node.users:
            if user in self._leaves:
                found |= {self._leaves[user]}
                continue
            behind = self._takers(user) if self._passes(user) else None
            if behind is None:
                return None
            found |= behind
        return found

    def readers(self) -> dict[str, frozenset[str]]:
        found = {path: self._takers(node) for node, path in self._leaves.items()}
        return {path: takers for path, takers in found.items() if takers is not None}


def _once(
    graph: fx.Graph, modules: Mapping[str, nn.Module], called: Mapping[str, int]
) -> frozenset[str]:
    constant: set[fx.Node] = set()
    found: list[str] = []
    for node in graph.nodes:
        inputs = set(node.all_input_nodes)
        if node.op == "placeholder":
            constant.add(node)
        elif constant & inputs:
            leaf = modules.get(str(node.target)) if node.op == "call_module" else None
            role = None if leaf is None else role_of(leaf)
            if inputs - constant or (role is not Role.NEURON and not _alike(node, leaf)):
                return frozenset()
            if role is not None:
                found.append(str(node.target))
            if role is not Role.NEURON:
                constant.add(node)
    return frozenset(found) if all(called[path] == 1 for path in found) else frozenset()


def _alike(node: fx.Node, leaf: nn.Module | None) -> bool:
    """Does an operation make of T equal batches T times what it makes of one?

    Batch norm does; its running variance is another matter (`ratebp.rules.repeated`).
    """
    if leaf is None:
        flattened = node.target in ("flatten", torch.flatten) and node.args[1:] == (1,)
        return flattened or node.target in (operator.add, torch.add)
    known = role_of(leaf) in (Role.SYNAPSE, Role.DROPOUT) or type(leaf) in _ALIKE
    return known or (isinstance(leaf, nn.Flatten) and leaf.start_dim >= 1)


_ALIKE = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm, nn.Identity, nn.ReLU),
    *(nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d),
)


def _union(pairs: Iterable[tuple[str, frozenset[str]]]) -> dict[str, frozenset[str]]:
    merged: dict[str, frozenset[str]] = {}
    for path, found in pairs:
        merged[path] = merged.get(path, frozenset()) | found
    return merged


def _lif_at(neuron: Any) -> Any:
    return neuron.neuron if isinstance(neuron, Recurrent) else neuron


def common_decay(model: nn.Module, neurons: Iterable[str], at: str) -> float | None:
    """Return the one decay that all `neurons` share, or None when there are none.

    Args:
        model: the model that holds the neurons.
        neurons: paths of LIF leaves, or of Recurrent ones of LIF.
        at: path of the leaf that asks, for the message.

    Raises:
        BindError: when the decays differ, since one trace cannot have two decays.
    """
    modules: dict[str, Any] = dict(model.named_modules())
    decays = {path: _lif_at(modules[path]).dynamics.decay for path in neurons}
    if len(set(decays.values())) > 1:
        listed = ", ".join(f"`{path}` {decay}" for path, decay in sorted(decays.items()))
        raise BindError(
            f"synapse `{at}` feeds neurons of different decay ({listed}), so it has no single "
            "presynaptic trace. Give these neurons one decay, or train with sltt or bptt_s."
        )
    return next(iter(decays.values()), None)
