"""What a method needs of a model's forward, and refusing a model that does not give it.

This module is the only place that compares the two. An operation has kinds
(`ratebp.graph.operations`), a method has needs; an operation that does not fit is refused by its
name and its line in the model, with a way out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from enum import Enum

import torch

from ratebp.checks import single
from ratebp.errors import BindError
from ratebp.graph import MULTIPLIES, Graph, Kind, Node, plain_embedding
from ratebp.roles import Role


class Need(Enum):
    """What a method may need.

    ::

        SAMPLES     samples are alike and first: T time steps are folded into the batch
        STILL       no buffer is changed but by norms, and nothing is drawn but by torch
        UNREAD      the running statistics of a norm are read by that norm alone
        NEURONS     neurons find the samples, one entry each, in their first dimension
        REPEATABLE  two passes see the same: no random operation but nn.Dropout
        RATES       a mean over time goes through: sums, multiples, maxima, products of signals
        ADDITIVE    signals are not multiplied with each other
        LEVELS      several levels at once go through: sums, multiples, maxima
        SYNAPSES    all weights that multiply signals belong to a synapse that is called
        SINGLE      the forward takes one tensor and returns one
    """

    SAMPLES = "samples first and alike"
    STILL = "no change of buffers but by norms"
    UNREAD = "statistics read by their norm alone"
    NEURONS = "samples first at neurons"
    REPEATABLE = "no randomness but nn.Dropout"
    RATES = "sums, multiples, maxima and products of signals"
    ADDITIVE = "no products of signals"
    LEVELS = "sums, multiples and maxima"
    SYNAPSES = "weights in modules that are called"
    SINGLE = "one input and one output"


def needs_of(layout: str, needs: Collection[Need] = ()) -> frozenset[Need]:
    """Return all needs of a method: those of its layout, and `needs`, which are its own."""
    folds = (Need.SAMPLES, Need.STILL) if layout == "multi" else ()
    return frozenset((*folds, *needs))


EXACT = "train with bptt_s, which runs the model as it is written"


def refuse_operations(method: str, needs: Collection[Need], graph: Graph) -> None:
    """Refuse operations that a method cannot carry, as far as they are known without shapes.

    Args:
        method: what to call it.
        needs: of that method.
        graph: of the model.

    Raises:
        BindError: naming the first operation, its line and a way out.
    """
    for need, check in _WITHOUT_SHAPES.items():
        if need in needs:
            check(method, graph)
    if Need.STILL in needs and graph.has_shapes and graph.drawn:
        raise BindError(
            f"{method} does not run the forward once for each time step, in their order, but the "
            "forward draws numbers by Python's random or numpy, so passes would see other ones. "
            f"Use nn.Dropout, of which all passes share one mask, or {EXACT}."
        )


def _refuse_kinds(
    *kinds: Kind, because: str, remedy: str, means: bool = False
) -> Callable[[str, Graph], None]:
    def check(method: str, graph: Graph) -> None:
        for node in graph.operations(*kinds):
            if means and plain_embedding(node):
                continue  # of one-hot codes, whose mean it takes
            raise BindError(f"{method} {because}, but {shown(node)} {_is(node, graph)}. {remedy}")

    return check


def _is(node: Node, graph: Graph) -> str:
    kinds = graph.kinds[node]
    if Kind.UNKNOWN in kinds:
        return "is an operation of which nothing is known"
    if node.buffers:
        return f"changes the buffer `{node.buffers[0]}`"
    if Kind.RANDOM in kinds:
        return "draws anew each time"
    return "is a product of signals" if Kind.PRODUCT in kinds else "is not linear"


def shown(node: Node) -> str:
    """Return what an operation is called and where it stands, for a message."""
    module = f" `{node.path}`" if node.path else ""
    name = type(node.module).__name__ if node.module is not None else node.name
    return f"{name}{module}" + (f" ({node.where})" if node.where else "")


def _refuse_weights(method: str, graph: Graph) -> None:
    for node in graph.nodes:
        if node.role is not None or node.inside or not node.signal:
            continue
        multiplied = node.name in MULTIPLIES and any(
            each.name == "parameter" for each in node.constants()
        )
        owned = node.module is not None and any(p.requires_grad for p in node.module.parameters())
        if multiplied or (owned and node.name not in ("prelu",)):
            raise BindError(
                f"{method} must know each weight's input over time, but {shown(node)} multiplies "
                "a signal by weights outside of a synapse that is called. Call the layer "
                "(self.fc(x), not F.linear(x, self.fc.weight)), use torch's linear layers and "
                f"convolutions, or {EXACT}."
            )


def _refuse_several(method: str, graph: Graph) -> None:
    inputs = [node.path for node in graph.nodes if node.name == "input"]
    outputs = [node for node in graph.nodes if node.name == "output"]
    if len(inputs) > 1:
        raise BindError(single(method, f"takes {len(inputs)} ({', '.join(inputs)})"))
    if any(not isinstance(node.args[0], Node) for node in outputs):
        raise BindError(single(method, "returns several tensors"))


def _refuse_read_statistics(method: str, graph: Graph) -> None:
    norms = {n.path: n.module for n in graph.leaves if n.role is Role.NORM and n.module}
    for node in graph.nodes:
        for each in (node, *node.constants()):
            owner, _, name = each.path.rpartition(".")
            moved = owner in norms and name in norms[owner]._buffers
            if each.name == "parameter" and moved:
                place = next((f" ({n.where})" for n in [node, *node.users] if n.where), "")
                raise BindError(
                    f"{method} runs a time step again after later ones have moved the running "
                    f"statistics of norms, but the forward reads `{each.path}`{place}, which would "
                    f"be another value by then. Take that out of it, or {EXACT}."
                )


_between_rates = _refuse_kinds(
    Kind.NONLINEAR,
    Kind.UNKNOWN,
    because="sends means over time through what lies between layers, which must be sums, "
    "multiples, maxima or products of signals",
    remedy=f"Change the model there, or {EXACT}.",
    means=True,
)


def _refuse_for_rates(method: str, graph: Graph) -> None:
    """Refuse operations, between layers or behind the last, that do not commute with a mean."""
    _between_rates(method, graph)
    for given in graph.nodes:
        whole = given.name == "input" and given.dtype in (torch.int32, torch.int64)
        other = next((n for n in given.users if not plain_embedding(n)), None) if whole else None
        if other is not None:
            raise BindError(
                f"{method} takes the mean over time, which indices have none of, but "
                f"{shown(other)} takes `{given.path}`. Let embeddings alone take it, or {EXACT}."
            )
    todo = [each for node in graph.nodes if node.name == "output" for each in node.tensors]
    while todo:
        near = todo.pop()
        if near.role is not None or not near.signal or near.name == "input":
            continue
        if Kind.AFFINE not in graph.kinds[near] and near.name != "part":
            raise BindError(
                f"{method} gives the output of mean rates, but {shown(near)} behind the last layer "
                f"is no sum, multiple or move. Put it into the loss, or {EXACT}."
            )
        todo.extend(near.tensors)


_WITHOUT_SHAPES: dict[Need, Callable[[str, Graph], None]] = {
    Need.REPEATABLE: _refuse_kinds(
        Kind.RANDOM,
        because="runs the forward more than once a step and must see the same each time",
        remedy=f"Use nn.Dropout, of which all passes share one mask, or {EXACT} and once.",
    ),
    Need.STILL: _refuse_kinds(
        Kind.STATEFUL,
        because="does not run the forward once for each time step, in their order",
        remedy=f"Take it out of the forward, or {EXACT}.",
    ),
    Need.UNREAD: _refuse_read_statistics,
    Need.RATES: _refuse_for_rates,
    Need.ADDITIVE: _refuse_kinds(
        Kind.PRODUCT,
        because="represents neurons by their mean currents, of which no product is made",
        remedy=f"Train with rate_m, which records products, or {EXACT}.",
    ),
    Need.LEVELS: _refuse_kinds(
        Kind.NONLINEAR,
        Kind.UNKNOWN,
        Kind.PRODUCT,
        because="runs several levels of activation at once, so what lies between layers must "
        "commute with a factor and with their sum",
        remedy=f"Change the model there, or {EXACT}.",
    ),
    Need.SYNAPSES: _refuse_weights,
    Need.SINGLE: _refuse_several,
}
