"""Which leaf comes after which, read once with `torch.fx` when a method is bound.

Nothing here runs a model: the graph only answers questions, such as which neuron stands behind a
synapse (its decay is the decay of the synapse's presynaptic trace).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import fx, nn

from ratebp.errors import BindError
from ratebp.neurons import Recurrent
from ratebp.roles import Role, role_of


@dataclass(frozen=True)
class Wiring:
    """The leaves of a model with a role, and how signals reach them.

    A path is the leaf's dotted name in the model. "Reach" means through any operations, other
    synapses and norms included, but never through a neuron.

    Attributes:
        calls: how often one forward calls each leaf.
        behind: for each leaf, the neurons that its output reaches.
        before: for each leaf, the neurons whose output reaches it.
        only_norms: the leaves all of whose direct consumers are norm leaves.
    """

    calls: Mapping[str, int]
    behind: Mapping[str, frozenset[str]]
    before: Mapping[str, frozenset[str]]
    only_norms: frozenset[str]


class RoleTracer(fx.Tracer):
    """Stop at every leaf that has a role, whatever package it comes from."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Say so of every module with a role."""
        return role_of(m) is not None or super().is_leaf_module(m, module_qualified_name)


def trace(model: nn.Module) -> Wiring:
    """Read the wiring of `model`.

    Raises:
        BindError: when `torch.fx` cannot trace the model's forward.
    """
    try:
        graph = RoleTracer().trace(model)
    except Exception as error:
        raise BindError(
            f"the forward of {type(model).__name__} cannot be traced by torch.fx ({error}). "
            "Remove control flow that depends on tensor values, or pass "
            "bind(..., wiring=ratebp.Wiring(...)) that says which neuron follows each synapse."
        ) from error
    roles = {path: role_of(module) for path, module in model.named_modules()}
    leaves = [n for n in graph.nodes if n.op == "call_module" and roles.get(n.target) is not None]

    def is_neuron(node: fx.Node) -> bool:
        return node.op == "call_module" and roles.get(str(node.target)) is Role.NEURON

    def reach(node: fx.Node, attribute: str) -> frozenset[str]:
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

    def feeds_only_norms(node: fx.Node) -> bool:
        return bool(node.users) and all(
            user.op == "call_module" and roles.get(str(user.target)) is Role.NORM
            for user in node.users
        )

    return Wiring(
        calls=Counter(str(n.target) for n in leaves),
        behind=_union((str(n.target), reach(n, "users")) for n in leaves),
        before=_union((str(n.target), reach(n, "all_input_nodes")) for n in leaves),
        only_norms=frozenset(str(n.target) for n in leaves if feeds_only_norms(n))
        - {str(n.target) for n in leaves if not feeds_only_norms(n)},
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
