"""Chooses e-prop's leaves: neurons that receive a broadcast signal, synapses with traces."""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor, nn

from ratebp.bindable import Bindable
from ratebp.errors import BindError
from ratebp.graph import Graph
from ratebp.methods.eprop._adaptive import AdaptiveSynapse, Slope, SlopedALIF
from ratebp.methods.eprop._feedback import BroadcastNeuron, DriftedReadout, HiddenSynapse
from ratebp.neurons import ALIF, LIF, Recurrent
from ratebp.roles import Role
from ratebp.rules.neurons.entrance import entrances, linear_within
from ratebp.rules.neurons.lif import StepLIF
from ratebp.rules.neurons.recurrent import heard, refuse_unless_synapse
from ratebp.rules.synapses import Trace, common_decay
from ratebp.views import Leaf

_INSTEAD = "bptt_m or bptt_s"


class EpropLeaves:
    """Makes the leaves of e-prop for one model.

    Args:
        binding: what is bound.
        listens: paths of the neurons that also take the gradient by their spikes from the synapses
            that read these.
        drifts: paths of the readouts whose backward uses the change of their weights, see
            `DriftedReadout`.
        ends: paths of all readouts.

    Raises:
        BindError: where what reaches an ALIF layer is anything but the current of one `nn.Linear`
            that goes nowhere else, and for parameters that no gradient would reach.
    """

    def __init__(
        self,
        binding: Bindable,
        *,
        listens: Collection[str],
        ends: Collection[str],
        drifts: Collection[str],
    ) -> None:
        """Find the synapses that need an eligibility for each sample and weight."""
        model = self._model = binding.model
        self._wiring = binding.wiring
        _refuse_embeddings(binding.graph, model)
        self._listens, self._ends, self._drifts = listens, ends, drifts
        within = {id(m.neuron) for m in model.modules() if isinstance(m, Recurrent)}
        layers = {
            path: m
            for path, m in model.named_modules()
            if isinstance(_inner(m), ALIF) and id(m) not in within
        }
        into = entrances("eprop", binding.graph, binding.wiring, layers, _INSTEAD)
        _refuse_out_of_reach(binding.graph, ends if drifts else (), ends)
        self._slopes = {path: Slope() for path in layers}
        self._adaptive = {synapse: path for path, synapse in into.items()}

    def neuron(self, neuron: nn.Module, path: str) -> nn.Module:
        """Return the leaf of a `neuron` at `path`.

        Raises:
            BindError: for a Recurrent whose synapse e-prop has no traces for.
        """
        return BroadcastNeuron(self._running(neuron, path), read=path in self._listens)

    def synapse(self, layer: nn.Module, path: str) -> nn.Module:
        """Return the leaf of the synapse `layer` at `path`.

        Raises:
            BindError: where it feeds neurons of different decay.
        """
        if path in self._ends:
            return DriftedReadout(layer) if path in self._drifts else layer
        if path in self._adaptive:
            return self._into(layer, self._adaptive[path])
        decay = common_decay(self._model, self._wiring.behind[path], path)
        assert decay is not None
        return HiddenSynapse(layer, Trace(decay))

    def _running(self, neuron: nn.Module, path: str) -> Leaf:
        if isinstance(neuron, Recurrent):
            refuse_unless_synapse(neuron)
            return HeardNeuron(self._running(neuron.neuron, path), self._back(neuron, path))
        if isinstance(neuron, ALIF):
            return SlopedALIF(neuron, self._slopes[path])
        assert isinstance(neuron, LIF)
        return StepLIF(neuron)

    def _back(self, layer: Recurrent, path: str) -> nn.Module:
        if isinstance(layer.neuron, LIF):
            return HiddenSynapse(layer.synapse, Trace(layer.neuron.dynamics.decay))
        return self._into(linear_within("eprop", path, layer.synapse, _INSTEAD), path)

    def _into(self, layer: nn.Module, path: str) -> nn.Module:
        neuron = _inner(self._model.get_submodule(path))
        assert isinstance(layer, nn.Linear)
        assert isinstance(neuron, ALIF)
        return AdaptiveSynapse(layer, neuron, self._slopes[path])


class HeardNeuron(Leaf):
    """One time step a call, whose recurrent weights learn from their own traces (e-prop).

    ::

        s[t] = leaf(I[t] + synapse(s[t-1]))

    where `synapse` sends no gradient to the spikes it takes, and keeps the traces that its weights
    learn by.
    """

    stateful = True

    def __init__(self, leaf: Leaf, synapse: nn.Module) -> None:
        """Take what runs the neuron, and what connects it to itself, both at rest."""
        super().__init__()
        self.leaf = leaf
        self.back = synapse
        self.spikes: Tensor | None = None

    def forward(self, current: Tensor) -> Tensor:
        """Return the spikes of this step, shape of `current`."""
        spikes: Tensor = self.leaf(heard(self.back, self.spikes, current))
        # A copy, so that a model which adds to its spikes in place does not change what is kept.
        self.spikes = spikes.detach().clone()
        return spikes

    def reset(self) -> None:
        """Go back to rest."""
        self.leaf.reset()
        self.spikes = None

    def detach(self) -> None:
        """Cut the graph to earlier time steps."""
        self.leaf.detach()


def _refuse_out_of_reach(graph: Graph, drifting: Collection[str], ends: Collection[str]) -> None:
    """Refuse parameters before a synapse that sends no gradient back: they would never be trained.

    Raises:
        BindError: for parameters between a neuron, or the input, and such a synapse.
    """
    learned = {
        f"{path}.{name}" if path else name
        for path, module in graph.modules.items()
        for name, p in module._parameters.items()
        if p is not None and p.requires_grad
    }
    for synapse in graph.leaves:
        if synapse.role is not Role.SYNAPSE or synapse.path in set(ends) - set(drifting):
            continue
        todo = [*synapse.tensors]
        while todo:
            near = todo.pop()
            if graph.is_neuron(near):
                continue
            owned = near.module is not None and any(
                p.requires_grad for p in near.module.parameters()
            )
            loose = near.name == "parameter" and near.path in learned
            if owned or loose:
                raise BindError(
                    f"eprop sends no gradient past the synapse `{synapse.path}`, so `{near.path}` "
                    "before it would learn nothing. Put a neuron between them, move it behind the "
                    "synapse, or train with sltt, ottt_a or bptt_s."
                )
            todo.extend(near.tensors)


def _inner(module: nn.Module) -> nn.Module:
    return module.neuron if isinstance(module, Recurrent) else module


def _refuse_embeddings(graph: Graph, model: nn.Module) -> None:
    read = {node.path for node in graph.nodes}
    for path, layer in model.named_modules():
        asks = path in read and any(p.requires_grad for p in layer.parameters())
        if isinstance(layer, nn.Embedding | nn.EmbeddingBag) and asks:
            raise BindError(
                f"eprop has no trace for the {type(layer).__name__} at `{path}`, and sends no "
                "learning signal past the synapse behind it. Freeze it (requires_grad_(False)), or "
                "train with ottt_a, sltt or bptt_s."
            )
