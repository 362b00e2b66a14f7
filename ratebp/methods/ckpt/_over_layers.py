"""Gradient checkpointing over layers, with or without segments of time inside each.

A view's forward is split behind every neuron (`split_layers`). Between neurons nothing has a state,
so a layer may run over all time steps before the next one begins: the values are those of the step
by step order. Kept for the backward are the layers' inputs, spikes at one bit each. Nothing holds
all time steps of a layer's floats but the gradients that one layer hands to another.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.autograd.graph import GradientEdge

from ratebp.checks import refuse_no_tensor
from ratebp.errors import BindError
from ratebp.graph import Graph
from ratebp.inputs import Inputs, by_name, call
from ratebp.methods.ckpt._split import Layer, split_layers
from ratebp.ops import Spikes, pack, unpack
from ratebp.rules.handover import unread
from ratebp.rules.rerun import Part, Surroundings, edge_of, leaf_of, pull, refuse_changed, segments
from ratebp.rules.sharing.rules import Sharing
from ratebp.structures import Output, mapped
from ratebp.views import View


@dataclass(frozen=True)
class Signal:
    """What one layer hands to later ones.

    Attributes:
        handles: one tensor a time step, through which autograd connects layers. They hold the
            values or, where `bits` do, NaN of stride 0 in the values' shape.
        bits: of spikes, one tensor a time step.
        source: path of the neuron whose spikes these are.
    """

    handles: tuple[Tensor, ...]
    bits: tuple[Tensor, ...] = ()
    source: str = ""

    @property
    def kept(self) -> tuple[Tensor, ...]:
        """The tensors that must be kept to restore the values: bits, or the values themselves."""
        return self.bits or self.handles


@dataclass(frozen=True)
class _SignalType:
    """A signal without its tensors."""

    source: str
    shape: torch.Size
    dtype: torch.dtype

    def value(self, kept: Tensor) -> Tensor:
        """Return one step's value; spikes are in fresh memory."""
        return unpack(kept, self.shape, self.dtype) if self.source else kept.detach()


class CheckpointedLayer(nn.Module):
    """One layer over all time steps, recomputed in the backward."""

    def __init__(self, first: Layer, again: Layer, sharing: Sharing, segment: int) -> None:
        """Take a layer of the forward, the same one of the recomputation, and what its leaves
        share.
        """
        super().__init__()
        self.first, self.again = first.module, again.module
        self.spikes, self.paths = first.spikes, first.paths
        self.sharing, self.segment = sharing, segment

    def forward(self, *inputs: Signal) -> Signal | tuple[Signal, ...]:
        """Return the layer's outputs."""
        named = dict(self.again.named_parameters())
        handles = [handle for each in inputs for handle in each.handles]
        bits: list[tuple[Tensor, ...]] = []
        flat = _RecomputedLayer.apply(  # type: ignore[no-untyped-call]
            self, inputs, list(named), bits, *handles, *named.values()
        )
        steps = len(inputs[0].handles)
        outs = tuple(
            Signal(flat[k * steps : (k + 1) * steps], bits[k], source if bits[k] else "")
            for k, source in enumerate(self.spikes)
        )
        return outs if len(outs) > 1 else outs[0]

    def run(self, now: Sequence[Tensor]) -> list[Tensor]:
        """Run one time step of the forward."""
        versions = [each._version for each in now]
        found = self.first(*now)
        outs = list(found) if isinstance(found, tuple) else [found]
        if len(outs) != len(self.spikes):
            refuse_no_tensor(found, "the model")
        for out in outs:
            if not isinstance(out, Tensor):
                raise BindError(
                    f"the model passes a value of type {type(out).__name__} from one layer to a "
                    "later one, such as a size (B, N, D = x.shape) that was read before a neuron "
                    "and is used behind it. Read it where it is used (x.flatten(1) needs none), or "
                    "use methods.get('bptt_ckpt', over='time')."
                )
        refuse_changed(now, versions)
        return outs


class _LayerInput(torch.autograd.Function):
    """Passes a value on without keeping it; its backward stores the gradient by that value."""

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, value: Tensor, found: list[Any], place: int) -> Tensor:
        ctx.found, ctx.place = found, place
        return value.detach()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, ...]:
        ctx.found[ctx.place] = grads[0]
        return None, None, None, None


class _RecomputedLayer(torch.autograd.Function):
    """Runs a layer without a graph; the backward recomputes it, segment by segment."""

    @staticmethod
    def forward(
        ctx: Any,
        layer: CheckpointedLayer,
        inputs: tuple[Signal, ...],
        names: list[str],
        bits: list[tuple[Tensor, ...]],
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        steps = len(inputs[0].handles)
        kinds = [_SignalType(s.source, s.handles[0].shape, s.handles[0].dtype) for s in inputs]
        kept = [each.kept for each in inputs]
        part = Part(layer.first, layer.first)
        borders: list[Tensor | None] = []
        outs: list[list[Tensor]] = [[] for _ in layer.spikes]
        packed: list[list[Tensor]] = [[] for _ in layer.spikes]
        ctx.surroundings = Surroundings(inputs[0].handles[0])
        with part.sequence():
            for span in segments(steps, layer.segment):
                borders += [n.potential for n in part.neurons]
                ctx.surroundings.note()
                for t in range(steps)[span]:
                    now = [k.value(of[t]) for k, of in zip(kinds, kept, strict=True)]
                    for k, out in enumerate(layer.run(now)):
                        if layer.spikes[k]:
                            packed[k].append(pack(out))
                        outs[k].append(unread(out) if layer.spikes[k] else out)
        bits += [tuple(each) for each in packed]
        ctx.layer, ctx.kinds, ctx.names, ctx.steps = layer, kinds, names, steps
        ctx.set_materialize_grads(False)
        flat = [each for of in kept for each in of]
        ctx.save_for_backward(*flat, *tensors[len(flat) :], *borders)
        return tuple(out for each in outs for out in each)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        layer, kinds, steps, saved = ctx.layer, ctx.kinds, ctx.steps, ctx.saved_tensors
        count, given = len(kinds) * steps, len(kinds) * steps + len(ctx.names)
        wants = ctx.needs_input_grad[4:]
        leaves = [leaf_of(p, w) for p, w in zip(saved[count:given], wants[count:], strict=True)]
        table = dict(zip(ctx.names, leaves, strict=True))
        rerun = _Rerun(layer, kinds, saved[:count], wants[:count], table, [None] * count)
        part, borders = rerun.part, saved[given:]
        later: list[Tensor | None] = [None] * len(part.neurons)
        with ctx.surroundings.recomputation():
            for k, span in reversed([*enumerate(segments(steps, layer.segment))]):
                starts = [leaf_of(u) for u in borders[k * len(later) : (k + 1) * len(later)]]
                with ctx.surroundings.segment(k), part.sequence():
                    for neuron, start in zip(part.neurons, starts, strict=True):
                        neuron.potential = start
                    edges = [edge for t in range(steps)[span] for edge in rerun(t)]
                    edges += [edge_of(neuron.potential) for neuron in part.neurons]
                into = [grad for t in range(steps)[span] for grad in grads[t::steps]]
                pull(edges, [*into, *later])
                later = [None if start is None else start.grad for start in starts]
        layer.sharing.forget()
        return None, None, None, None, *rerun.found, *(leaf.grad for leaf in leaves)


@dataclass(frozen=True)
class _Rerun:
    """The recomputation of a layer.

    Attributes:
        layer: which.
        kinds: of its inputs.
        kept: of each input at each time step, all steps of the first input first.
        wants: whether a gradient by that is wanted.
        table: the leaves that stand for the parameters, by name.
        found: filled with the gradients by the inputs, in the order of `kept`.
    """

    layer: CheckpointedLayer
    kinds: list[_SignalType]
    kept: tuple[Tensor, ...]
    wants: tuple[bool, ...]
    table: dict[str, Tensor]
    found: list[Tensor | None]

    @property
    def part(self) -> Part:
        """What runs."""
        return Part(self.layer.again, self.layer.again)

    def __call__(self, t: int) -> list[GradientEdge | None]:
        """Run time step `t` with a graph; return where the gradients by its outputs go in."""
        steps = len(self.kept) // len(self.kinds)
        now = []
        for place, kind in zip(range(t, len(self.kept), steps), self.kinds, strict=True):
            value = kind.value(self.kept[place])
            if self.wants[place]:
                anchor = torch.zeros((), requires_grad=True)
                value = _LayerInput.apply(anchor, value, self.found, place)  # type: ignore[no-untyped-call]
            now.append(value)
            if kind.source:
                self.layer.sharing.show(kind.source, self.layer.paths, Spikes(self.kept[place]))
        # Edges instead of tensors: nobody reads the outputs' values.
        return [edge_of(out) for out in self.part(self.table, tuple(now))]


class Chain(nn.Module):
    """A model split into checkpointed layers, for a whole sequence.

    In a graph of torch.compile the model runs whole and step by step: the compiler's partitioner
    decides what is kept and what is computed again.
    """

    def __init__(self, whole: nn.Module, layers: fx.GraphModule) -> None:
        """Take the tree, and the chain that it was split into."""
        super().__init__()
        self.whole, self.layers = whole, layers
        placed = (node for node in layers.graph.nodes if node.op == "placeholder")
        self.names = tuple(str(node.target) for node in placed)

    def forward(self, x: Tensor | Inputs) -> tuple[Output, ...]:
        """Return the T outputs ``[B, K]`` for ``x [T, B, ...]``."""
        if torch.compiler.is_compiling():
            return tuple(call(self.whole, now) for now in x.unbind(0))
        if isinstance(x, Inputs):
            given = by_name(self.whole, x)
            out = self.layers(**{n: Signal(given[n].unbind(0)) for n in self.names if n in given})
        else:
            out = self.layers(Signal(x.unbind(0)))
        return tuple(mapped(lambda each, t=t: each.handles[t], out) for t in range(len(x)))


def by_layers(
    net: nn.Module,
    rerun: nn.Module,
    graph: Graph,
    neurons: Collection[str],
    sharing: Sharing,
    segment: int,
) -> Chain:
    """Return `net` as a chain of checkpointed layers.

    Args:
        net: the tree of the forward, with `StepLIF` neurons.
        rerun: the tree of the recomputation: neurons of the same state, norms that give the same
            values and update no statistics.
        graph: of the model, with its code.
        neurons: paths of the neurons; a layer ends behind each.
        sharing: of `rerun`.
        segment: time steps that are recomputed at once.

    Raises:
        BindError: for a forward that cannot be split into layers.
    """
    (chain, layers), (_, again) = (split_layers(tree, graph, neurons) for tree in (net, rerun))
    for name, layer in layers.items():
        chain.set_submodule(name, CheckpointedLayer(layer, again[name], sharing, segment))
    return Chain(net, chain)


def all_layers(chain: View, x: Tensor) -> tuple[Output, ...]:
    """Run the chain of layers over the sequence ``x [T, B, ...]``; return T outputs ``[B, K]``."""
    with chain.sequence():
        outs: Any = chain.module(x)  # T outputs, which a view would refuse
    return tuple(outs)
