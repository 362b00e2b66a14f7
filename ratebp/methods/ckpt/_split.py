"""A view's forward split into layers behind every neuron, by `torch.fx`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from torch import fx, nn
from torch.fx.passes.split_module import split_module

from ratebp.errors import BindError
from ratebp.graph import OUT_OF_PLACE, Graph, changes_nothing_else


@dataclass(frozen=True)
class Layer:
    """One layer of a split tree.

    Attributes:
        module: one time step of it; its inputs and outputs are tensors.
        paths: of the leaves in it.
        spikes: for each output, the path of the neuron whose spikes it is, else the empty string;
            empty, too, for what the whole model returns.
    """

    module: nn.Module
    paths: frozenset[str]
    spikes: tuple[str, ...]


def split_layers(
    tree: nn.Module, graph: Graph, neurons: Collection[str]
) -> tuple[fx.GraphModule, dict[str, Layer]]:
    """Return the chain of layers of `tree`, and each layer by its name in the chain.

    Args:
        tree: a view of the model, its leaves swapped.
        graph: of the model, with its code.
        neurons: paths of the neurons; a layer ends behind each.

    Raises:
        BindError: for a forward that cannot be split.
    """
    code, sizes = _code_of(graph)
    layer_of: dict[fx.Node, int] = {}
    paths: defaultdict[str, set[str]] = defaultdict(set)
    number = 0
    for node in [*code.nodes]:
        layer_of[node] = number
        _read_sizes_here(node, sizes, layer_of)
        if node.op == "call_module":
            paths[f"submod_{number}"].add(str(node.target))
            number += node.target in neurons
        if node.op == "call_module" and not node.users:
            raise BindError(
                f"the model calls `{node.target}` and uses what it gives nowhere, so no layer has "
                "it. Take the call out, use over='time', or train with bptt_s."
            )
        if node.op == "get_attr":
            raise BindError(
                f"the model uses `{node.target}` beside its modules, so no layer has it alone. "
                "Put it into a module without children, such as ratebp.norms.LearnedScale, use "
                "over='time', or train with bptt_s."
            )
    by_module = {id(tree.get_submodule(path)): path for path in neurons}
    chain = split_module(fx.GraphModule(tree, code), tree, layer_of.__getitem__)
    returned = _returning(chain)
    layers = {}
    for name, module in chain.named_children():
        assert isinstance(module, fx.GraphModule)
        spikes = _spikes(module, {} if name in returned else by_module)
        layers[name] = Layer(module, frozenset(paths[name]), spikes)
    return chain, layers


def _outputs(chain: fx.GraphModule) -> list[Any]:
    (value,) = next(node for node in chain.graph.nodes if node.op == "output").args
    return [*value] if isinstance(value, tuple) else [value]


def _returning(chain: fx.GraphModule) -> set[str]:
    """Return the names of the layers from which the whole model's output comes."""
    out = next(node for node in chain.graph.nodes if node.op == "output")
    found = [node for node in out.all_input_nodes if node.all_input_nodes]
    calls = [n if n.op == "call_module" else n.all_input_nodes[0] for n in found]
    return {str(node.target) for node in calls}


def _spikes(layer: fx.GraphModule, neurons: Mapping[int, str]) -> tuple[str, ...]:
    def path(node: fx.Node) -> str:
        if node.op != "call_module":
            return ""
        return neurons.get(id(layer.get_submodule(str(node.target))), "")

    return tuple(path(node) for node in _outputs(layer))


def _read_sizes_here(
    user: fx.Node, sizes: Collection[fx.Node], layer_of: dict[fx.Node, int]
) -> None:
    """Copy the sizes that `user` reads into its own layer, since layers pass on only tensors."""
    copies: dict[fx.Node, fx.Node] = {}

    def here(size: fx.Node) -> fx.Node:
        if size not in sizes or layer_of[size] == layer_of[user]:
            return size
        if size not in copies:
            for each in size.all_input_nodes:
                here(each)
            with user.graph.inserting_before(user):
                copies[size] = user.graph.node_copy(size, lambda n: copies.get(n, n))
            layer_of[copies[size]] = layer_of[user]
        return copies[size]

    for each in user.all_input_nodes:
        user.replace_input_with(each, here(each))


def _code_of(graph: Graph) -> tuple[fx.Graph, set[fx.Node]]:
    """Return a copy of the code of the model's forward, and which of its nodes are sizes.

    The copy also runs a tree whose leaves are swapped.

    Raises:
        BindError: where it cannot be split.
    """
    if graph.training_read:
        raise BindError(
            "the forward reads `self.training` outside of torch's own "
            "layers, which a split into layers would freeze. Use modules such as nn.Dropout there, "
            "or over='time'."
        )
    assert graph.code is not None
    code = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    code.output(code.graph_copy(graph.code, copies))
    for node in code.nodes:
        if changes_nothing_else(node, graph.modules):
            node.target = OUT_OF_PLACE[node.target]  # nobody sees the difference
    return code, {copies[size] for size in graph.sizes if size in copies}
