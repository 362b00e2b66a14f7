"""Our models as NIR graphs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ratebp.errors import BindError
from ratebp.graph import Graph, Node, Recording
from ratebp.importers.nir_nodes import INTEGRATORS, package
from ratebp.legal import one_of, positive
from ratebp.needs import shown
from ratebp.neurons import LIF
from ratebp.roles import Role


def to_nir(
    model: nn.Module, input_shape: Sequence[int], *, dt: float = 1e-4, integrator: str = "euler"
) -> Any:
    """Return `model` as a `nir.NIRGraph`; `nir.write` puts it into a file.

    A NIR file cannot say a soft reset, surrogates or whether the reset is detached: hand them to
    `from_nir`. Neurons with decay 1 become IF, others LIF of ``tau = dt / (1 - decay)`` (euler) or
    ``-dt / log(decay)`` (exact), ``r = 1 / (1 - decay)``.

    Args:
        model: of linear layers, convolutions, average pooling, flatten and LIF neurons.
        input_shape: of one sample.
        dt: length of a time step.
        integrator: "euler" or "exact".

    Raises:
        BindError: for an operation that NIR has no node for, by its line.
        OptionError: for an option that is not legal, or where the package is missing.
    """
    positive("dt", dt)
    one_of("integrator of a NIR graph", integrator, INTEGRATORS)
    x = torch.empty((1, *input_shape), device="meta")
    return _Writer(package(), model, dt, integrator).graph(
        Recording(model).of((x,)), [*input_shape]
    )


class _Writer:
    """Writes the nodes of one model."""

    def __init__(self, nir: Any, model: nn.Module, dt: float, integrator: str) -> None:
        self._modules = dict(model.named_modules())
        self._nir, self._dt, self._integrator = nir, dt, integrator
        self._nodes: dict[str, Any] = {}
        self._edges: list[tuple[str, str]] = []
        self._terms: dict[Node, list[str]] = {}

    def graph(self, graph: Graph, input_shape: list[int]) -> Any:
        """Return the nodes and edges of `graph`."""
        for node in graph.nodes:
            self._terms[node] = self._written(node, input_shape)
        return self._nir.NIRGraph(self._nodes, self._edges)

    def _written(self, node: Node, input_shape: list[int]) -> list[str]:
        """Write `node`; return the nodes whose sum its value is."""
        before = [term for each in node.signals for term in self._terms[each]]
        if not node.signal or (node.name == "add" and len(node.signals) == 2):
            return before
        if node.name == "identity" or node.role is Role.DROPOUT:
            return before
        shape = [*(node.signals[0].shape or ())][1:] if node.signals else input_shape
        made = self._node(node, shape)
        name = node.name if node.name in ("input", "output") else node.path.replace(".", "_")
        name = name or f"{node.name}_{len(self._nodes)}"
        self._nodes[name] = made
        self._edges += [(term, name) for term in before]
        return [name]

    def _node(self, node: Node, shape: list[int]) -> Any:
        nir = self._nir
        # The graph was read from a copy whose tensors have no values.
        module = self._modules[node.path] if node.module is not None else None
        if node.name == "input":
            return nir.Input({"input": np.array(shape)})
        if node.name == "output":
            return nir.Output({"output": np.array(shape)})
        if node.name == "flatten" and node.option("start_dim", 1, 0) in (0, 1):
            return nir.Flatten({"input": np.array(shape)}, 0, -1)
        if isinstance(module, nn.AvgPool2d) and not (module.ceil_mode or module.divisor_override):
            parts = module.kernel_size, module.stride, module.padding
            return nir.AvgPool2d(*(np.array(_two(each)) for each in parts))
        if type(module) is nn.Linear:
            weight = _array(module.weight)
            return nir.Linear(weight) if module.bias is None else nir.Affine(weight, _bias(module))
        if type(module) is nn.Conv2d and module.padding_mode == "zeros":
            given = (module.stride, module.padding, module.dilation, module.groups)
            return nir.Conv2d(tuple(shape[1:]), _array(module.weight), *given, _bias(module))
        if isinstance(module, LIF) and type(module) is LIF:
            return self._neuron(module, shape)
        raise BindError(
            f"{shown(node)} has no node in NIR. Written are Linear, Conv2d, AvgPool2d, Flatten, "
            "sums and LIF; fold batch norms into the layer before, and pool by averages."
        )

    def _neuron(self, lif: LIF, shape: list[int]) -> Any:
        d = lif.dynamics

        def each(value: float) -> Any:
            return np.full(shape, value, dtype=np.float64)

        threshold, zero = each(d.threshold), each(0.0)
        if d.decay == 1:
            return self._nir.IF(each(1.0), threshold, zero)
        if d.decay == 0 and self._integrator == "exact":
            raise BindError("a LIF of decay 0 has no tau with the exact integrator. Use euler.")
        euler = self._integrator == "euler"
        tau = self._dt / (1 - d.decay) if euler else -self._dt / math.log(d.decay)
        return self._nir.LIF(each(tau), each(1 / (1 - d.decay)), zero, threshold, zero)


def _two(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def _array(tensor: Tensor) -> Any:
    return tensor.detach().cpu().numpy()


def _bias(module: Any) -> Any:
    channels = len(module.weight)
    return np.zeros(channels, np.float32) if module.bias is None else _array(module.bias)
