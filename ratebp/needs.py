"""What a method needs of a model's forward, and refusing a model that does not give it.

Everything that methods cannot have in common is said here once: an operation is known by its kinds
(`ratebp.graph.operations`), a method by its needs, and what does not fit is refused by the name of
the operation, its line in the model, and a way out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from enum import Enum
from typing import Any

import torch
from torch import nn

from ratebp.checks import refuse_no_tensor, single
from ratebp.errors import BindError
from ratebp.graph import MULTIPLIES, VIEWS, Graph, Kind, Node
from ratebp.roles import Role
from ratebp.structures import mapped


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
    """Return what a method of a layout needs, beside `needs` of its own."""
    folds = (Need.SAMPLES, Need.STILL) if layout == "multi" else ()
    return frozenset((*folds, *needs))


EXACT = "train with bptt_s, which runs the model as it is written"
_NORM_OR_LEAF = (Role.NEURON, Role.SYNAPSE, Role.NORM)


def refuse_forward(model: nn.Module, graph: Graph) -> None:
    """Refuse what no method can train right.

    Raises:
        BindError: for an output that is no tensor, an input that is changed in place, state that
            the forward keeps on modules, leaves within `torch.utils.checkpoint`, and a neuron
            called twice.
    """
    name = type(model).__name__
    if graph.written:
        raise BindError(
            f"the forward of {name} writes `{graph.written[0]}`, so a second pass or time step "
            "would see another model. Keep what time steps hand on in neurons, in a ratebp.Delay "
            "or in a buffer of a norm; return other values, or read them from a copy."
        )
    for node in graph.nodes:
        if node.name in ("set", "set_"):
            raise BindError(
                f"the forward of {name} assigns a tensor's memory ({node.where}: x.data = ...), "
                "which nothing can follow. Use x = ... or, for parameters, torch.no_grad() outside "
                "of the forward."
            )
    for node in graph.operations(Kind.IN_PLACE):
        if node.inside and not all(each.inside for each in _whole(node)):
            raise BindError(
                f"`{node.inside}` changes its input in place ({node.where}), which others see as "
                "well. Let it work on a copy (x = x.clone())."
            )
        if any(each.name == "input" for each in _whole(node)):
            raise BindError(
                f"{shown(node)} changes the model's input in place, so later time steps and "
                "passes would see another one. Write it out of place (x = x + y)."
            )
    for node in graph.nodes:
        if node.name == "output":
            refuse_no_tensor(mapped(_as_tensor, node.args[0]), name)
    _refuse_calls(graph)


def _as_tensor(member: Any) -> Any:
    return torch.empty(0, device="meta") if isinstance(member, Node) else member


def _refuse_calls(graph: Graph) -> None:
    """Refuse leaves that are called twice, or in a way that no layer is."""
    for node in graph.leaves:
        _refuse_unlike_a_layer(node)
        if node.again and node.role in _NORM_OR_LEAF:
            raise BindError(
                f"`{node.path}` runs within torch.utils.checkpoint ({node.where}), which would run "
                "it twice in each time step. Call it without, and train with bptt_ckpt, which "
                "keeps as little and knows of time."
            )
        if node.role is Role.NEURON and graph.calls[node.path] > 1:
            raise BindError(
                f"`{node.path}` is called {graph.calls[node.path]} times in one forward"
                f"{_lines(graph, node)}, but it keeps one state. Give each place its own module "
                "(two LIF() objects, not one used twice); a forward is written for one time step, "
                "so take out a loop over time. ratebp.from_spikingjelly and from_snntorch rewrite "
                "such loops in their packages' models."
            )


def _lines(graph: Graph, leaf: Node) -> str:
    lines = dict.fromkeys(n.where for n in graph.leaves if n.path == leaf.path and n.where)
    return f" ({', '.join(lines)})" if lines else ""


def _refuse_unlike_a_layer(node: Node) -> None:
    """Refuse a leaf that takes anything but one tensor, or gives anything else."""
    delays = node.role is Role.NEURON and not node.args and not node.kwargs
    single = len(node.args) == 1 and isinstance(node.args[0], Node) and not node.kwargs
    if not (single or delays):
        raise BindError(
            f"`{node.path}` ({node.where}) is called with more than one tensor, or by name. Call "
            "it as layer(x): put what else it takes into its attributes (for a transposed "
            "convolution, output_padding=... gives the size)."
        )
    if node.several:
        raise BindError(
            f"`{node.path}` ({node.where}) gives something else than one tensor. Let it return "
            "one, or make it a module without a role around a torch layer."
        )


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


def _refuse_kinds(*kinds: Kind, because: str, remedy: str) -> Callable[[str, Graph], None]:
    def check(method: str, graph: Graph) -> None:
        for node in graph.operations(*kinds):
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


def _whole(change: Node) -> list[Node]:
    """Return what shares memory with what `change` changes."""
    found = [change.tensors[0]] if change.tensors else []
    while found[-1:] and found[-1].name in VIEWS and found[-1].tensors:
        found.append(found[-1].tensors[0])
    return found


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
)


def _refuse_for_rates(method: str, graph: Graph) -> None:
    """Layers have the mean of their values; behind the last ones only what means pass may stand."""
    _between_rates(method, graph)
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
