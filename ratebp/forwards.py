"""What no method can train right in a model's forward, refused for all."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ratebp.checks import refuse_no_tensor
from ratebp.errors import BindError
from ratebp.graph import VIEWS, Graph, Kind, Node
from ratebp.needs import shown
from ratebp.roles import Role
from ratebp.structures import mapped

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


def _whole(change: Node) -> list[Node]:
    """Return what shares memory with what `change` changes."""
    found = [change.tensors[0]] if change.tensors else []
    while found[-1:] and found[-1].name in VIEWS and found[-1].tensors:
        found.append(found[-1].tensors[0])
    return found
