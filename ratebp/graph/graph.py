"""The data flow of one forward of a model, and the questions that are asked of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from torch import fx, nn

from ratebp.graph.node import Node
from ratebp.graph.operations import Kind, kinds_of
from ratebp.roles import Role, role_of


@dataclass(frozen=True, eq=False)
class Graph:
    """All operations of one forward, in the order in which they ran.

    Attributes:
        nodes: the operations.
        modules: of the model, by dotted name; a module under several names has the first.
        roles: of these modules, where they have one.
        code: the forward as `torch.fx` traced it; None where it was read by running it.
        written: attributes of modules, and variables around them, that the forward changes.
        drawn: whether it draws from a generator that reading does not follow, such as Python's.
        sizes: the nodes of the code that are sizes and not tensors.
        contexts: whether parts of the forward run under `torch.no_grad` or autocast; the code does
            not hold these.
        training_read: whether the forward reads `self.training` of a module that is no leaf.
    """

    nodes: tuple[Node, ...]
    modules: Mapping[str, nn.Module]
    roles: Mapping[str, Role]
    code: fx.Graph | None = None
    written: tuple[str, ...] = ()
    training_read: bool = False
    drawn: bool = False
    sizes: frozenset[fx.Node] = frozenset()
    contexts: bool = False
    kinds: Mapping[Node, frozenset[Kind]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Look up the kinds of all operations."""
        object.__setattr__(self, "kinds", {node: kinds_of(node) for node in self.nodes})

    @property
    def has_shapes(self) -> bool:
        """Return whether the forward was read with the shapes of real inputs."""
        return self.code is None

    @property
    def leaves(self) -> list[Node]:
        """The calls of modules with a role, dropouts among them."""
        return [node for node in self.nodes if node.role is not None]

    @property
    def calls(self) -> Counter[str]:
        """How often each leaf is called, by its path; leaves that are not called are absent."""
        return Counter(node.path for node in self.leaves)

    def read_only(self) -> list[Node]:
        """Return the parameters of leaves that are read without the leaf being called there."""
        owners = {path for path, role in self.roles.items() if role is not Role.DROPOUT}
        return [
            node
            for node in self.nodes
            if node.name == "parameter" and node.path.rpartition(".")[0] in owners
        ]

    def operations(self, *kinds: Kind) -> list[Node]:
        """Return the operations of any of these kinds."""
        wanted = frozenset(kinds)
        return [node for node in self.nodes if not wanted.isdisjoint(self.kinds[node])]

    def is_neuron(self, node: Node) -> bool:
        """Is this the call of a neuron?"""
        return node.role is Role.NEURON

    def behind(self, node: Node) -> frozenset[str]:
        """Return the neurons that the value of `node` reaches, through no other neuron."""
        return _reached(node, lambda near: near.users, self.is_neuron)

    def before(self, node: Node) -> frozenset[str]:
        """Return the neurons whose spikes reach `node`, through no other neuron."""
        return _reached(node, lambda near: near.tensors, self.is_neuron)


def plain_embedding(node: Node) -> bool:
    """Is it torch's own embedding of an input of the model, linear in the one-hot code of that?"""
    layer = node.module
    if type(layer) is not nn.Embedding or layer.max_norm is not None or layer.scale_grad_by_freq:
        return False
    (given,) = node.args if len(node.args) == 1 else (None,)
    calls = given.users if isinstance(given, Node) and given.name == "input" else []
    return [each.path for each in calls].count(node.path) == 1


def modules_of(model: nn.Module) -> tuple[dict[str, nn.Module], dict[str, Role]]:
    """Return the modules of `model` by dotted name, and the roles of those that have one."""
    modules = dict(model.named_modules())
    roles = {path: role_of(module) for path, module in modules.items()}
    return modules, {path: role for path, role in roles.items() if role is not None}


def _reached(
    node: Node, following: Callable[[Node], Iterable[Node]], is_neuron: Callable[[Node], bool]
) -> frozenset[str]:
    found: set[str] = set()
    seen: set[Node] = set()
    todo = [*following(node)]
    while todo:
        near = todo.pop()
        if near in seen:
            continue
        seen.add(near)
        if is_neuron(near):
            found.add(near.path)
        else:
            todo.extend(following(near))
    return frozenset(found)
