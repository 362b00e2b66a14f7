"""How a trace that a neuron makes gets to a synapse: the plumbing between, copied at bind."""

from __future__ import annotations

import operator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.nn.modules.dropout import _DropoutNd

from ratebp.errors import BindError
from ratebp.roles import Role, role_of
from ratebp.wiring import RoleTracer

_REMEDY = "Change the model there, or train with ottt_a, which takes any plumbing."
_ADD = (operator.add, torch.add, "add")  # none in place, which would change the neuron's trace
_SIZES = (getattr, "size", "dim")
_POOLS = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
_ADAPTIVE = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
_LINEAR_MODULES = (nn.Identity, nn.Flatten, *_POOLS, *_ADAPTIVE)
_LINEAR_CALLS = (
    torch.flatten,
    *("flatten", "view", "reshape", "contiguous", "mean"),
    *(F.avg_pool1d, F.avg_pool2d, F.avg_pool3d),
    *(F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d),
)


@dataclass(frozen=True)
class TracePath:
    """The way of traces to one synapse.

    Attributes:
        neurons: paths of the neurons that it starts from.
        plumbing: ``plumbing(*traces) -> trace`` at the synapse, the traces in that order.
    """

    neurons: tuple[str, ...]
    plumbing: nn.Module


class _Graph:
    """A model's traced forward, sorted into spikes, sizes and the rest (currents, inputs)."""

    def __init__(self, model: nn.Module, graph: fx.Graph) -> None:
        self.model = model
        self.modules = dict(model.named_modules())
        self.spikes: set[fx.Node] = set()
        self.sizes: set[fx.Node] = set()
        self.synapses: dict[str, fx.Node] = {}
        for node in graph.nodes:
            self._sort(node)

    def _module(self, node: fx.Node) -> nn.Module | None:
        return self.modules[str(node.target)] if node.op == "call_module" else None

    def _role(self, node: fx.Node) -> Role | None:
        module = self._module(node)
        return None if module is None else role_of(module)

    def _sort(self, node: fx.Node) -> None:
        inputs = node.all_input_nodes
        read = node.target in _SIZES and (node.target is not getattr or node.args[1] == "shape")
        if self._role(node) is Role.SYNAPSE:
            if inputs[0] in self.spikes:
                self.synapses[str(node.target)] = inputs[0]
        elif read or (inputs and self.sizes.issuperset(inputs)):
            self.sizes.add(node)
        elif self._role(node) is Role.NEURON or not self.spikes.isdisjoint(inputs):
            self.spikes.add(node)

    def path_to(self, synapse: str) -> TracePath:
        """Copy the plumbing from the neurons to `synapse`.

        Raises:
            BindError: where it is not linear in the spikes.
        """
        plumbing = fx.Graph()
        copies: dict[fx.Node, fx.Node] = {}
        neurons: list[str] = []

        def copy(node: fx.Node) -> fx.Node:
            if node in copies:
                return copies[node]
            if self._role(node) is Role.NEURON:
                neurons.append(str(node.target))
                copies[node] = plumbing.placeholder(f"trace_{len(neurons)}")
                return copies[node]
            self._refuse_unless_linear(node, synapse)
            for each in node.all_input_nodes:
                copy(each)
            copies[node] = plumbing.node_copy(node, lambda n: copies[n])
            return copies[node]

        plumbing.output(copy(self.synapses[synapse]))
        return TracePath(tuple(neurons), fx.GraphModule(self.model, plumbing))

    def _refuse_unless_linear(self, node: fx.Node, synapse: str) -> None:
        signals = [n for n in node.all_input_nodes if n not in self.sizes]
        mixed = not self.spikes.issuperset(signals)
        if not mixed and (node in self.sizes or self._is_linear(node)):
            return
        module = self._module(node)
        what = f"`{node.target}` ({type(module).__name__})" if module else f"`{node.name}`"
        what = f"ndot cannot bring traces to synapse `{synapse}` through {what}"
        if mixed:
            names = " and ".join(_origins(n) for n in signals)
            raise BindError(f"{what}, where spikes meet what is no spike ({names}). {_REMEDY}")
        raise BindError(
            f"{what}. Between a neuron and a synapse there may be sums of spikes, multiples, "
            f"average pooling, flattening and dropout with p=0. {_REMEDY}"
        )

    def _is_linear(self, node: fx.Node) -> bool:
        """Return whether `node`, all of whose signals are spikes, is linear in them."""
        module = self._module(node)
        if module is not None:
            off = isinstance(module, _DropoutNd) and module.p == 0
            return off or isinstance(module, _LINEAR_MODULES)
        operands = [isinstance(a, fx.Node) and a in self.spikes for a in node.args]
        if node.target in _ADD:
            return len(operands) > 1 and all(operands)
        if node.target is operator.mul:
            return sum(operands) == 1
        return node.target in _LINEAR_CALLS


def _origins(node: fx.Node) -> str:
    """Return the leaf that `node` comes from, or those that it is made of, in words."""
    if node.op == "call_module":
        return f"`{node.target}`"
    if not node.all_input_nodes:
        return f"`{node.name}`"
    return ", ".join(dict.fromkeys(_origins(n) for n in node.all_input_nodes))


def trace_paths(model: nn.Module) -> dict[str, TracePath]:
    """Return the way of traces to each synapse that spikes reach directly, by its path.

    Raises:
        BindError: for a model that `torch.fx` cannot trace, and where spikes on their way to a
            synapse meet what is no spike, or go through anything that is not linear in them.
    """
    try:
        graph = RoleTracer().trace(model)
    except Exception as error:
        raise BindError(
            f"ndot must see how traces reach the synapses of {type(model).__name__}, which "
            f"torch.fx cannot trace ({error}). Remove control flow that depends on tensor values, "
            "or train with ottt_a and bind(..., wiring=...)."
        ) from error
    sorted_graph = _Graph(model, graph)
    return {synapse: sorted_graph.path_to(synapse) for synapse in sorted_graph.synapses}
