"""Which leaf comes after which: what rules ask of a model's graph.

Nothing here runs a model: the graph only answers questions, such as which neuron stands behind a
synapse (its decay is the decay of the synapse's presynaptic trace).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from ratebp.errors import BindError
from ratebp.graph import (
    MOVES,
    Count,
    Graph,
    Kind,
    Moves,
    Node,
    Samples,
    UnreadableError,
    counts,
    moves_before,
    plain_embedding,
    read,
)
from ratebp.neurons import ALIF, LIF, PLIF
from ratebp.roles import Role

EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
BINARY = (LIF, PLIF, ALIF)
"""Neurons whose output is 0 or 1; a subclass may give anything."""


@dataclass(frozen=True)
class Wiring:
    """The neurons, synapses and norms of a model, and how signals reach them.

    Dropouts are among what signals go through; only their calls are counted.

    A path is the leaf's dotted name in the model. "Reach" means through any operations, other
    synapses and norms included, but never through a neuron, and never by a size that was read.

    Attributes:
        calls: how often one forward calls each leaf; leaves that it never calls are absent.
        behind: for each leaf, the neurons that its output reaches.
        before: for each leaf, the neurons whose output reaches it.
        only_norms: the leaves all of whose direct consumers are norm leaves.
        sources: for a leaf, the leaves whose outputs, added up in this order and changed by nothing
            else, are its input; absent for any other input.
        readers: for a leaf, the leaves that take its output, alone or as a term of a sum; absent if
            anything else takes it, so that nobody else can change it in place.
        constant_input: the leaves up to the first neurons, and these neurons: their input is equal
            at every time step if the model's is, so one step of it may run in place of T. Empty if
            an operation before those neurons treats samples unlike, or if anything else takes what
            these leaves give.
        means: the leaves whose input commutes with the mean over time: computed from the mean
            spikes and the mean of the model's input, it is the mean of their inputs.
        measured: the leaves whose output, alone or as a term of a sum, the forward asks for its
            shape or type.
        counts: for a synapse whose input is made of spikes alone (sums, products and averages of
            them, reshaped or not): which values that input can have.
        moves: for a neuron that reads one other leaf's output, reshaped or permuted, where that
            output has no other reader: the operations between the two. Known only once shapes are.
        entrances: by what the forward calls an input, the modules that take it as it is, if nothing
            else takes it; none if anything else does. None if it is not known.
        indices: the inputs that an embedding takes, as they are or moved: they may be integers.
        embeddings: the plain embeddings that take an input as it is, once.
    """

    calls: Mapping[str, int]
    behind: Mapping[str, frozenset[str]]
    before: Mapping[str, frozenset[str]]
    only_norms: frozenset[str]
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    readers: Mapping[str, frozenset[str]] = field(default_factory=dict)
    constant_input: frozenset[str] = frozenset()
    means: frozenset[str] = frozenset()
    measured: frozenset[str] = frozenset()
    counts: Mapping[str, Count] = field(default_factory=dict)
    moves: Mapping[str, Moves] = field(default_factory=dict)
    entrances: Mapping[str, frozenset[str]] | None = None
    indices: frozenset[str] = frozenset()
    embeddings: frozenset[str] = frozenset()


def wiring_of(graph: Graph, batch: int | None = None) -> Wiring:
    """Return what `graph` says of the leaves.

    Args:
        graph: of the model.
        batch: the number of samples that it was read with; None where it has no shapes.
    """
    leaves = [node for node in graph.leaves if node.role is not Role.DROPOUT]
    sums = _Sums(leaves)
    norms = {node.path for node in leaves if _feeds_only_norms(node)}
    return Wiring(
        calls=graph.calls,
        behind=_union((node.path, graph.behind(node)) for node in leaves),
        before=_union((node.path, graph.before(node)) for node in leaves),
        only_norms=frozenset(norms - {n.path for n in leaves if not _feeds_only_norms(n)}),
        sources=sums.sources(),
        readers=sums.readers(),
        constant_input=_constant_input(graph),
        measured=sums.measured(),
        means=frozenset(node.path for node in leaves if _takes_means(node, graph)),
        counts=_counts(graph),
        moves={} if batch is None else _moves(graph, batch),
        entrances={n.path: _takers(n) for n in graph.nodes if n.name == "input"},
        embeddings=frozenset(n.path for n in graph.nodes if plain_embedding(n)),
        indices=frozenset(n.path for n in graph.nodes if n.name == "input" and _indexes(n)),
    )


def trace(model: nn.Module) -> Wiring:
    """Read the wiring of `model` without running it.

    Raises:
        BindError: when `torch.fx` cannot trace the model's forward.
    """
    try:
        return wiring_of(read(model))
    except UnreadableError as error:
        raise BindError(
            f"the forward of {type(model).__name__} cannot be traced by torch.fx ({error})."
        ) from error


def _takers(given: Node) -> frozenset[str]:
    calls = all(user.module is not None and user.args == (given,) for user in given.users)
    return frozenset(user.path for user in given.users) if calls else frozenset()


def _indexes(given: Node) -> bool:
    """Does an embedding take this input, as it is or moved?"""
    todo = [*given.users]
    while todo:
        near = todo.pop()
        if near.name in ("embedding", "embedding_bag") or isinstance(near.module, EMBEDDINGS):
            return True
        if near.name in _KEEPS_INDICES:
            todo.extend(near.users)
    return False


_KEEPS_INDICES = MOVES | {"to", "long", "int", "contiguous", "clone", "identity", "add", "sub"}


def _counts(graph: Graph) -> dict[str, Count]:
    known = counts(graph, lambda node: type(node.module) in BINARY)
    taken: dict[str, set[Count | None]] = {}
    for node in graph.leaves:
        if node.role is Role.SYNAPSE:
            source = node.args[0] if node.args else None
            count = known.get(source) if isinstance(source, Node) else None
            taken.setdefault(node.path, set()).add(count)
    alike = {path: next(iter(found)) for path, found in taken.items() if len(found) == 1}
    return {path: count for path, count in alike.items() if count is not None}


def _moves(graph: Graph, batch: int) -> dict[str, Moves]:
    samples, calls = Samples(graph, batch), graph.calls
    neurons = [node for node in graph.leaves if node.role is Role.NEURON and calls[node.path] == 1]
    found = {node.path: moves_before(node, samples) for node in neurons}
    return {p: m for p, m in found.items() if m is not None and calls[m.source] == 1}


def _feeds_only_norms(node: Node) -> bool:
    return bool(node.users) and all(user.role is Role.NORM for user in node.users)


class _Sums:
    """Follows outputs of leaves through functional additions and `nn.Identity`, nothing else."""

    def __init__(self, leaves: Iterable[Node]) -> None:
        leaves = [*leaves]
        paths = [node.path for node in leaves]
        self._leaves = {node: node.path for node in leaves if paths.count(node.path) == 1}

    def _passes(self, node: Node) -> bool:
        if node.name == "identity":
            return True
        if node.name != "add" or len(node.args) != 2 or node.kwargs:
            return False
        # Where shapes are known, a sum that broadcasts is no sum of what leaves keep.
        return all(
            isinstance(each, Node) and (each.shape is None or each.shape == node.shape)
            for each in node.args
        )

    def _terms(self, value: Any) -> tuple[str, ...] | None:
        if not isinstance(value, Node):
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

    def _takers(self, node: Node) -> frozenset[str] | None:
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

    def _is_measured(self, node: Node) -> bool:
        behind = (user for user in node.users if user not in self._leaves and self._passes(user))
        return node.sized or any(map(self._is_measured, behind))

    def measured(self) -> frozenset[str]:
        return frozenset(path for node, path in self._leaves.items() if self._is_measured(node))

    def readers(self) -> dict[str, frozenset[str]]:
        found = {path: self._takers(node) for node, path in self._leaves.items()}
        return {path: takers for path, takers in found.items() if takers is not None}


def _constant_input(graph: Graph) -> frozenset[str]:
    unchanging: set[Node] = set()
    found: list[str] = []
    for node in graph.nodes:
        inputs = set(node.tensors)
        if node.name == "input":
            unchanging.add(node)
        elif unchanging & inputs:
            if inputs - unchanging or (node.role is not Role.NEURON and not _alike(node)):
                return frozenset()
            if node.role is not None:
                found.append(node.path)
            if node.role is not Role.NEURON:
                unchanging.add(node)
    if any(node.sized for node in unchanging):
        return frozenset()  # a number of samples that is read there would not be that behind
    return frozenset(found) if all(graph.calls[path] == 1 for path in found) else frozenset()


def _takes_means(leaf: Node, graph: Graph) -> bool:
    """Return whether only sums, multiples and moves lie between `leaf` and what is before it."""
    todo = [each for each in leaf.tensors if each.signal]
    while todo:
        near = todo.pop()
        if graph.is_neuron(near) or near.name == "input":
            continue
        if Kind.AFFINE not in graph.kinds[near]:
            return False
        todo.extend(each for each in near.tensors if each.signal)
    return True


_ALIKE = frozenset(
    [
        "identity",
        "relu",
        "avg_pool1d",
        "avg_pool2d",
        "avg_pool3d",
        "max_pool1d",
        "max_pool2d",
        "max_pool3d",
    ]
)
_ALIKE_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm)


def _alike(node: Node) -> bool:
    """Return whether an operation on T equal batches gives T copies of its result on one.

    Batch norm does, but for its running variance, which `ratebp.rules.norms.repeated` corrects.
    """
    if node.role is Role.NORM:
        return type(node.module) in _ALIKE_NORMS
    if node.role is not None:
        return True
    if node.changes:
        return False
    if node.name == "flatten":
        start = node.option("start_dim", 1, 0)
        return start == 1 or (node.module is not None and start > 1)
    return node.name == "add" or (node.name in _ALIKE and node.module is not None)


def _union(pairs: Iterable[tuple[str, frozenset[str]]]) -> dict[str, frozenset[str]]:
    merged: dict[str, frozenset[str]] = {}
    for path, found in pairs:
        merged[path] = merged.get(path, frozenset()) | found
    return merged
