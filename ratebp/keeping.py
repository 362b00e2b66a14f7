"""What exact training keeps for the backward, leaf by leaf, and why a leaf keeps what it need not.

Counted in one step of `bptt_m`, by the hooks of autograd: each storage once, to the leaf that saved
it first. Where leaves share (`ratebp.rules.sharing`), a synapse keeps its input spikes in a bit or
a byte, a batch norm one float a value, and a neuron nothing.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.modules.batchnorm import _BatchNorm

from ratebp import methods
from ratebp.graph import MOVES, VIEWS, Graph, Node
from ratebp.neurons import LIF
from ratebp.phases import StepContext
from ratebp.roles import Role
from ratebp.wiring import BINARY, Wiring

METHOD = "bptt_m"
BETWEEN = "(between leaves)"

_LITTLE = 0.01
"""A share of all bytes; what operations keep below it is not told."""


@dataclass(frozen=True)
class LeafKeeping:
    """What one leaf keeps.

    Attributes:
        path: its dotted name; `BETWEEN` for operations between leaves.
        kind: its class.
        nbytes: what it keeps over all time steps.
        per_value: the same for each value of its output (of a synapse, of its input).
        needless: whether that is more than such a leaf keeps where it shares.
        why: what keeps it from that, in one sentence.
    """

    path: str
    kind: str
    nbytes: int
    per_value: float
    needless: bool
    why: str


@dataclass(frozen=True)
class NetworkKeeping:
    """What a network keeps: its leaves in the order of the forward, and bytes a neuron-step."""

    leaves: tuple[LeafKeeping, ...]
    per_neuron: float


class _SavedBytes(StepContext):
    """Attributes what autograd saves in the forward to the leaf that is running."""

    def __init__(self, persistent: list[Tensor]) -> None:
        super().__init__()
        self.running: list[str] = []
        self.nbytes: Counter[str] = Counter()
        self._seen = {id(t.untyped_storage()): t.untyped_storage() for t in persistent}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        if name != "forward":
            yield
            return
        with saved_tensors_hooks(self._pack, lambda tensor: tensor):
            yield

    def _pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if id(storage) not in self._seen:
            self._seen[id(storage)] = storage  # held, so that no other gets its identity
            self.nbytes[self.running[-1] if self.running else BETWEEN] += storage.nbytes()
        return tensor


def keeping(model: nn.Module, x: Tensor, y: Tensor) -> NetworkKeeping:
    """Run one step of `bptt_m` on a copy of `model` and say what each leaf keeps.

    Args:
        model: as for `Method.bind`.
        x: a small batch ``[T, B, ...]``.
        y: targets.

    Raises:
        RatebpError: `bptt_m` cannot train the model on these inputs.
    """
    model = copy.deepcopy(model).train()
    bound = methods.get(METHOD).bind(model, len(x))
    (view,) = bound.views(x).values()
    graph, wiring = bound.binding.graph, bound.binding.wiring
    watch = _SavedBytes([*model.parameters(), *model.buffers(), x, y])
    sizes: dict[str, tuple[int, int]] = {}
    for node in graph.leaves:
        _watched(view.module.get_submodule(node.path), node.path, watch, sizes)
    with torch.random.fork_rng():
        bound.step(x, y, context=watch)
    leaves = {node.path: node for node in graph.leaves}
    found = [
        _kept(node, watch.nbytes[p], sizes.get(p, (1, 1)), graph, wiring)
        for p, node in leaves.items()
    ]
    if watch.nbytes[BETWEEN] > _LITTLE * sum(watch.nbytes.values()):
        found.append(_between(watch.nbytes[BETWEEN], graph))
    neurons = sum(
        sizes[p][1] for p, node in leaves.items() if node.role is Role.NEURON and p in sizes
    )
    return NetworkKeeping(tuple(found), sum(watch.nbytes.values()) / max(neurons, 1))


def _watched(
    leaf: nn.Module, path: str, watch: _SavedBytes, sizes: dict[str, tuple[int, int]]
) -> None:
    def enter(_: nn.Module, inputs: Any) -> None:
        watch.running.append(path)

    def leave(_: nn.Module, inputs: Any, out: Any) -> None:
        watch.running.pop()
        counts = [each.numel() if isinstance(each, Tensor) else 0 for each in (*inputs[:1], out)]
        taken, made = sizes.get(path, (0, 0))
        sizes[path] = taken + counts[0], made + counts[-1]

    leaf.register_forward_pre_hook(enter)
    leaf.register_forward_hook(leave)


def _kept(
    node: Node, nbytes: int, sizes: tuple[int, int], graph: Graph, wiring: Wiring
) -> LeafKeeping:
    role = node.role
    per_value = nbytes / max(sizes[0] if role is Role.SYNAPSE else sizes[1], 1)
    needless, why = False, ""
    for mine, needed, reason in _NEEDED:
        if role is mine and per_value > needed:
            needless, why = True, reason(node, graph, wiring)
    return LeafKeeping(node.path, type(node.module).__name__, nbytes, per_value, needless, why)


def _between(nbytes: int, graph: Graph) -> LeafKeeping:
    """What operations between leaves keep: which of them are no moves and no sums."""
    free = {"input", "identity", "add", *MOVES, *VIEWS}
    nodes = [n for n in graph.nodes if n.signal and n.role is None and n.users]
    told = ", ".join(dict.fromkeys(n.name for n in nodes if n.name not in free)) or "sums and moves"
    why = f"Operations that are no leaves keep what their own backward needs: {told}."
    return LeafKeeping(BETWEEN, "", nbytes, 0.0, True, why)


def _before(node: Node) -> str:
    """How the input of a leaf comes about, where it is not the output of leaves as it is."""
    source = node.args[0] if node.args else None
    if not isinstance(source, Node):
        return "nothing that is known"
    line = f" ({source.where})" if source.where else ""
    return f"`{source.path}`" if source.role is not None else f"{source.name}{line}"


def _of_neuron(node: Node, graph: Graph, wiring: Wiring) -> str:
    if type(node.module) is not LIF:
        return f"A {type(node.module).__name__} keeps its own potentials; LIF alone shares."
    sources = wiring.sources.get(node.path)
    if sources is None:
        return f"Its current is no plain sum of leaves' outputs: it comes from {_before(node)}."
    kinds = [type(graph.modules[path]).__name__ for path in sources]
    named = ", ".join(f"`{path}` ({kind})" for path, kind in zip(sources, kinds, strict=True))
    norms = [path for path in sources if isinstance(graph.modules[path], _BatchNorm)]
    if not norms:
        return f"Its current is that of {named}; only behind a batch norm is it kept there anyway."
    if len(sources) > 2 or len(set(sources)) < len(sources):
        return f"Its current is the sum of {named}; sums of two different leaves are shared."
    unread = [path for path in sources if path not in wiring.readers]
    if unread:
        return f"The output of `{unread[0]}` is taken by more than leaves and sums of them."
    return (
        f"Its current is of {named}, of which one must be a batch norm and the other a LIF or one."
    )


def _of_synapse(node: Node, graph: Graph, wiring: Wiring) -> str:
    count = wiring.counts.get(node.path)
    before = wiring.before.get(node.path, frozenset())
    other = [path for path in sorted(before) if type(graph.modules[path]) not in BINARY]
    if not before:
        return "No neuron is before it, so its input is no spikes; the model's own input is free."
    if other:
        kind = type(graph.modules[other[0]]).__name__
        return f"Its input is of `{other[0]}`, a {kind}, whose outputs may be any numbers."
    if count is None:
        return f"Its input is no sum of spikes that is known: it comes from {_before(node)}."
    return (
        f"Its input are small numbers, but a {type(node.module).__name__} like this is not packed."
    )


def _of_norm(node: Node, graph: Graph, wiring: Wiring) -> str:
    if not isinstance(node.module, _BatchNorm):
        return f"A {type(node.module).__name__} runs as torch has it; batch norms alone share."
    takers = sorted({user.name if user.role is None else f"`{user.path}`" for user in node.users})
    return f"Neurons do not take its output as it is; what takes it: {', '.join(takers)}."


_NEEDED = (
    (Role.NEURON, 0.2, _of_neuron),
    (Role.SYNAPSE, 1.0, _of_synapse),
    (Role.NORM, 4.2, _of_norm),
)
"""Bytes a value that a leaf of a role may keep (a bit or a byte, one float for a norm), and who
says why it keeps more."""
