"""Which linear synapse stands straight before a layer whose weights must know each neuron."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from ratebp.errors import BindError
from ratebp.graph import Graph
from ratebp.roles import Role
from ratebp.wiring import Wiring


def entrances(
    method: str,
    graph: Graph,
    wiring: Wiring,
    layers: Mapping[str, nn.Module],
    instead: str,
) -> dict[str, str]:
    """Return the path of the one synapse into each of `layers`, by the layer's path.

    Args:
        method: name of the method that asks, for messages.
        graph: of what will be bound.
        wiring: of the same.
        layers: neurons of the model that must have such a synapse, by path.
        instead: the methods that need none, for messages.

    Raises:
        BindError: where what reaches a layer is anything but the current of one `nn.Linear` that
            goes nowhere else.
    """
    neurons = {path for path, role in graph.roles.items() if role is Role.NEURON}
    found = {}
    for node in graph.leaves:
        if node.path in layers:
            (before,) = node.tensors
            reaching = {path for path, behind in wiring.behind.items() if node.path in behind}
            alone = reaching - neurons == {before.path} and len(before.users) == 1
            if type(before.module) is not nn.Linear or not alone:
                raise BindError(
                    f"{method} needs one nn.Linear straight before the "
                    f"{type(layers[node.path]).__name__} at `{node.path}`, whose output goes "
                    f"nowhere else, but finds `{before.path or before.name}`. Remove what lies "
                    f"between, or train with {instead}."
                )
            found[node.path] = before.path
    return found


def linear_within(method: str, path: str, synapse: nn.Module, instead: str) -> nn.Linear:
    """Return `synapse`, which connects the recurrent layer at `path` to itself.

    Raises:
        BindError: for anything but an `nn.Linear`.
    """
    if type(synapse) is not nn.Linear:
        raise BindError(
            f"{method} has no influence rule for the {type(synapse).__name__} in the Recurrent at "
            f"`{path}`: give it nn.Linear, or train with {instead}."
        )
    return synapse
