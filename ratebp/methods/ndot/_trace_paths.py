"""How a trace that a neuron makes gets to a synapse: the plumbing between, copied at bind."""

from __future__ import annotations

from dataclasses import dataclass

from torch import fx, nn

from ratebp.errors import BindError
from ratebp.graph import OUT_OF_PLACE, Graph, Kind, Node, changes_nothing_else
from ratebp.roles import Role

_REMEDY = "Change the model there, or train with ottt_a, which takes any plumbing."


@dataclass(frozen=True)
class TracePath:
    """The way of traces to one synapse.

    Attributes:
        neurons: paths of the neurons that it starts from.
        plumbing: ``plumbing(*traces) -> trace`` at the synapse, the traces in that order.
    """

    neurons: tuple[str, ...]
    plumbing: nn.Module


class _SpikingNodes:
    """The operations of a forward that carry spikes, not currents or the input."""

    def __init__(self, model: nn.Module, graph: Graph) -> None:
        self.model, self.graph = model, graph
        self.spikes: set[Node] = set()
        self.synapses: dict[str, Node] = {}
        self.nodes = {node.code: node for node in graph.nodes if node.code is not None}
        for node in graph.nodes:
            self._sort(node)

    def _sort(self, node: Node) -> None:
        if node.role is Role.SYNAPSE:
            if node.tensors and node.tensors[0] in self.spikes:
                self.synapses[node.path] = node.tensors[0]
        elif node.role is Role.NEURON or not self.spikes.isdisjoint(node.tensors):
            self.spikes.add(node)

    def path_to(self, synapse: str) -> TracePath:
        """Copy the plumbing from the neurons to `synapse`.

        Raises:
            BindError: where it is not linear in the spikes.
        """
        plumbing = fx.Graph()
        copies: dict[fx.Node, fx.Node] = {}
        neurons: list[str] = []

        def copy(code: fx.Node) -> fx.Node:
            if code in copies:
                return copies[code]
            node = self.nodes.get(code)  # none for a size
            if node is not None and node.role is Role.NEURON:
                neurons.append(node.path)
                copies[code] = plumbing.placeholder(f"trace_{len(neurons)}")
                return copies[code]
            if node is not None:
                self._refuse_unless_linear(node, synapse)
            for each in code.all_input_nodes:
                copy(each)
            made = copies[code] = plumbing.node_copy(code, lambda n: copies[n])
            # What `s += x` changed would here be the neuron's own trace.
            made.target = OUT_OF_PLACE.get(made.target, made.target)
            return made

        last = self.synapses[synapse].code
        assert last is not None
        plumbing.output(copy(last))
        return TracePath(tuple(neurons), fx.GraphModule(self.model, plumbing))

    def _refuse_unless_linear(self, node: Node, synapse: str) -> None:
        mixed = not self.spikes.issuperset(node.tensors)
        kinds = self.graph.kinds[node]
        assert node.code is not None
        meddles = Kind.IN_PLACE in kinds and not changes_nothing_else(node.code, self.graph.modules)
        if not mixed and Kind.LINEAR in kinds and Kind.RANDOM not in kinds and not meddles:
            return
        silent = node.role is Role.DROPOUT and getattr(node.module, "p", 1) == 0
        if not mixed and silent:
            return
        what = f"`{node.name}` ({node.where})"
        if node.module is not None:
            what = f"`{node.path}` ({type(node.module).__name__})"
        what = f"ndot cannot bring traces to synapse `{synapse}` through {what}"
        if mixed:
            names = " and ".join(_origins(each) for each in node.tensors)
            raise BindError(f"{what}, where spikes meet what is no spike ({names}). {_REMEDY}")
        raise BindError(
            f"{what}. Between a neuron and a synapse there may be sums of spikes, multiples, "
            f"average pooling, flattening and dropout with p=0. {_REMEDY}"
        )


def _origins(node: Node) -> str:
    """Return the leaf that `node` comes from, or those that it is made of, in words."""
    if node.path:
        return f"`{node.path}`"
    if not node.tensors:
        return f"`{node.name}`"
    return ", ".join(dict.fromkeys(_origins(each) for each in node.tensors))


def trace_paths(model: nn.Module, graph: Graph) -> dict[str, TracePath]:
    """Return the way of traces to each synapse that spikes reach directly, by its path.

    Args:
        model: what is bound.
        graph: of it, with its code.

    Raises:
        BindError: where spikes on their way to a synapse meet what is no spike, or go through
            anything that is not linear in them.
    """
    spikes = _SpikingNodes(model, graph)
    return {synapse: spikes.path_to(synapse) for synapse in spikes.synapses}
