"""Gradient checkpointing over layers, with or without segments of time inside each.

`torch.fx` cuts a view's forward behind every neuron. Between neurons nothing has a state, so a
layer may run over all time steps before the next one begins: the values are those of the step by
step order. Kept for the backward are the layers' inputs.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from torch import Tensor, fx, nn
from torch.fx.passes.split_module import split_module

from ratebp.errors import BindError
from ratebp.roles import role_of
from ratebp.rules.checkpoint import Part, Plan
from ratebp.views import Leaf, View


class CheckpointedLayer(nn.Module):
    """One layer over all time steps: ``[T, B, ...]`` in and out, recomputed in the backward."""

    def __init__(self, first: nn.Module, again: nn.Module, segment: int) -> None:
        """Take a layer, and the same one of the recomputation."""
        super().__init__()
        self.first, self.again, self.segment = first, again, segment

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Return the layer's outputs, ``[T, B, ...]`` each."""
        first, again = Part(self._first, self.first), Part(self.again, self.again)
        outs = Plan(first, again, self.segment, returns=True).run(*inputs)
        return outs if len(outs) > 1 else outs[0]

    def _first(self, *now: Tensor) -> Any:
        outs = self.first(*now)
        for out in outs if isinstance(outs, tuple) else (outs,):
            if not isinstance(out, Tensor):
                raise BindError(
                    f"the model passes a {type(out).__name__} from one layer to a later one, such "
                    "as a size that was read before a neuron and is used behind it. Read it where "
                    "it is used (x.flatten(1) needs none), or use over='time'."
                )
        return outs


class _LeafTracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        known = isinstance(m, Leaf) or role_of(m) is not None
        return known or super().is_leaf_module(m, module_qualified_name)


def by_layers(
    net: nn.Module, rerun: nn.Module, neurons: Collection[str], segment: int
) -> nn.Module:
    """Return `net` as a chain of checkpointed layers, for a folded sequence ``[T, B, ...]``.

    Args:
        net: the tree of the forward, with `StepLIF` neurons.
        rerun: the tree of the recomputation: the same neurons, `rerun_norm` norms.
        neurons: paths of the neurons; a layer ends behind each.
        segment: time steps that are recomputed at once.

    Raises:
        BindError: when `torch.fx` cannot cut the model's forward.
    """
    chain, again = _cut(net, neurons), _cut(rerun, neurons)
    for name, layer in list(chain.named_children()):
        chain.set_submodule(name, CheckpointedLayer(layer, again.get_submodule(name), segment))
    return chain


def all_layers(chain: View, x: Tensor) -> tuple[Tensor, ...]:
    """Run the chain of layers over the sequence ``x [T, B, ...]``; return T outputs ``[B, K]``."""
    return chain(x).unbind(0)


def _cut(tree: nn.Module, neurons: Collection[str]) -> fx.GraphModule:
    graph = _traced(tree)
    layer_of: dict[fx.Node, int] = {}
    number = 0
    for node in graph.nodes:
        layer_of[node] = number
        number += node.op == "call_module" and node.target in neurons
    return split_module(fx.GraphModule(tree, graph), tree, layer_of.__getitem__)


def _traced(tree: nn.Module) -> fx.Graph:
    mode = {module: module.training for module in tree.modules()}
    graphs = []
    try:
        for training in (True, False):
            tree.train(training)
            graphs.append(_LeafTracer().trace(tree))
    except Exception as error:
        raise BindError(
            f"torch.fx cannot cut the forward of {type(tree).__name__} into layers ({error}). Use "
            "over='time', which needs no cut, or train with bptt_s."
        ) from error
    finally:
        for module, training in mode.items():
            module.training = training
    sources = {graph.python_code("self").src for graph in graphs}
    if len(sources) > 1:
        raise BindError(
            f"the forward of {type(tree).__name__} reads `self.training` outside of torch's own "
            "layers, which a cut into layers would freeze. Use modules such as nn.Dropout there, "
            "or over='time'."
        )
    return graphs[0]
