"""NIR graphs (package `nir`) as models of ours, and our models as NIR graphs.

A file holds no time step, no integrator and no soft reset, and exporters write three meanings of
tau: what the file does not say the caller must.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ratebp.errors import BindError
from ratebp.importers.nir_nodes import (
    INTEGRATORS,
    LAYERS,
    RESETS,
    Constants,
    NirOptions,
    Simulated,
    constants,
    neuron,
    package,
)
from ratebp.importers.pair import Pair, Stepper
from ratebp.importers.probe import probe
from ratebp.importers.proof import prove
from ratebp.importers.report import Proof
from ratebp.importers.surrogates import SCALING
from ratebp.legal import flag, one_of, positive
from ratebp.surrogates import Surrogate


def from_nir(
    graph: Any,
    dt: float,
    reset: str,
    integrator: str,
    *,
    detach_reset: bool = True,
    surrogate: str = "sigmoid",
    alpha: float = 4.0,
    x: Tensor | None = None,
    input_shape: Sequence[int] | None = None,
    timesteps: int = 4,
    show: Callable[[str], object] | None = print,
) -> nn.Module:
    """Return the one-step model of a NIR graph, proven against a simulation of its equations.

    Args:
        graph: a `nir.NIRGraph`, or the path of a file.
        dt: length of a time step, in the file's unit of tau (snnTorch's exporter: 1e-4; sinabs': 1;
            Norse's: 1e-6).
        reset: "hard" as NIR defines it; "soft" or "soft_undecayed" where the exporter lost it.
        integrator: "euler" (decay 1 - dt/tau: snnTorch, Norse) or "exact" (exp(-dt/tau): sinabs).
        detach_reset: whether the spike inside the reset is a constant in the backward.
        surrogate: name of the backward shape, at the scale of the file's potential.
        alpha: sharpness of that shape.
        x: the probe batch ``[T, B, ...]``; drawn if absent.
        input_shape: of one sample of a drawn batch; the graph's own if absent.
        timesteps: T of a drawn batch.
        show: is given the table of the proof; None for none.

    Raises:
        OptionError: for an option that is not legal.
        BindError: for a node that has no counterpart, by its name, and spikes that are not equal.
    """
    made, proof = proven(
        graph,
        _reading(dt, reset, integrator, detach_reset, surrogate, alpha),
        x=x,
        input_shape=input_shape,
        timesteps=timesteps,
    )
    if show is not None:
        show(str(proof))
    return made


def _reading(
    dt: float, reset: str, integrator: str, detach: bool, surrogate: str, alpha: float
) -> NirOptions:
    positive("dt", dt, note=", in the file's unit of tau")
    one_of("reset of a NIR graph", reset, RESETS)
    one_of("integrator of a NIR graph", integrator, INTEGRATORS)
    flag("detach_reset", detach)
    if surrogate not in SCALING:
        one_of("surrogate of a NIR graph", surrogate, SCALING)
    return NirOptions(dt, reset, integrator, detach, Surrogate(surrogate, alpha))


def proven(
    graph: Any,
    reading: NirOptions,
    *,
    x: Tensor | None = None,
    input_shape: Sequence[int] | None = None,
    timesteps: int = 4,
) -> tuple[nn.Module, Proof]:
    """Do what `from_nir` does; return the proof as well.

    Raises:
        BindError: as `from_nir`.
    """
    if isinstance(graph, str | Path):
        graph = package().read(graph)
    flat = _Flat(graph)
    known = {p: constants(p, n, reading) for p, n in flat.nodes.items() if _fires(n)}
    layers = {p: _layer(p, n) for p, n in flat.nodes.items() if p not in known and not _is_end(n)}
    made = Wired(flat.plan, layers | {p: neuron(c, reading) for p, c in known.items()})
    source = Wired(flat.plan, layers | {p: Simulated(c, reading) for p, c in known.items()})
    if not known:
        raise BindError("the NIR graph has no neuron (IF, LIF). Give a graph of a spiking network.")
    pairs = [_pair(p, flat.nodes[p], made.get_submodule(p), c, reading) for p, c in known.items()]
    shape = flat.input_shape if input_shape is None else input_shape
    batch = probe(source, x, shape, timesteps, _run)
    notes = (
        f"said by the caller: dt={reading.dt:g}, reset={reading.reset}, {reading.integrator}",
        "a neuron of NIR fires above its threshold, in ratebp at it: they differ on ties alone",
    )
    return made, prove(source, made, pairs, _run, batch, "NIR graph", notes)


def _run(net: nn.Module, x: Tensor) -> Tensor:
    for module in net.modules():
        if isinstance(module, Simulated):
            module.last = None
    return torch.stack([net(now) for now in x.unbind(0)]).sum(0)


def _kind(node: Any) -> str:
    return type(node).__name__


def _fires(node: Any) -> bool:
    return _kind(node) in ("IF", "LIF")


def _is_end(node: Any) -> bool:
    return _kind(node) in ("Input", "Output")


def _layer(path: str, node: Any) -> nn.Module:
    if _kind(node) not in LAYERS:
        raise BindError(
            f"`{path}` is a {_kind(node)} of NIR, which has no counterpart in ratebp. Imported are "
            f"IF, LIF, {', '.join(LAYERS)} and graphs of them."
        )
    return LAYERS[_kind(node)](path, node)


def _pair(path: str, node: Any, made: nn.Module, c: Constants, reading: NirOptions) -> Pair:
    settings = f"decay={c.decay:.4g}, gain={c.gain:.4g}, v_threshold={c.threshold:.4g}"

    def alone() -> Stepper:
        return Simulated(c, reading)

    source = f"{_kind(node)}({settings}, {reading.reset})"
    return Pair(path, source, made, c.threshold / c.gain, alone, lambda out: (out,))


Plan = tuple[tuple[str, tuple[str, ...]], ...]
"""Nodes in the order of their calls, each with those whose sum it gets; the last is the output."""


class Wired(nn.Module):
    """Modules that are called in the order of a plan; several inputs of one are summed.

    Args:
        plan: their order, by path.
        modules: by path; "" and the ends of the graph have none.
    """

    def __init__(self, plan: Plan, modules: dict[str, nn.Module]) -> None:
        """Put each module at its path."""
        super().__init__()
        self._plan = plan
        for path, module in modules.items():
            *parents, name = path.split(".")
            place: nn.Module = self
            for parent in parents:
                if parent not in dict(place.named_children()):
                    place.add_module(parent, nn.Module())
                place = place.get_submodule(parent)
            place.add_module(name, module)

    def forward(self, x: Tensor) -> Tensor:
        """Run one time step, ``[B, ...]``."""
        values: dict[str, Tensor] = {}
        out = x
        for path, inputs in self._plan:
            out = x
            for k, each in enumerate(inputs):
                out = values[each] if k == 0 else out + values[each]
            if not path.endswith(_ENDS):
                out = self.get_submodule(path)(out)
            values[path] = out
        return out


_ENDS = ("|in", "|out")
"""Marks of a graph's ends, which call nothing."""


class _Flat:
    """A NIR graph and the graphs in it as one list of nodes."""

    def __init__(self, graph: Any) -> None:
        self.nodes: dict[str, Any] = {}
        self.before: dict[str, list[str]] = {}
        start, end = self._add(graph, "")
        shape = self.nodes[start].input_type["input"]
        self.input_shape = None if shape is None else tuple(int(each) for each in shape)
        self.plan = self._ordered(start, end)

    def _add(self, graph: Any, prefix: str) -> tuple[str, str]:
        ends: dict[str, list[str]] = {"Input": [], "Output": []}
        first: dict[str, str] = {}
        last: dict[str, str] = {}
        for name, node in graph.nodes.items():
            path = f"{prefix}{str(name).replace('.', '_')}"
            if _kind(node) == "NIRGraph":
                first[name], last[name] = self._add(node, f"{path}.")
                continue
            if _is_end(node):
                path += _ENDS[_kind(node) == "Output"]
                ends[_kind(node)].append(path)
            first[name] = last[name] = path
            self.nodes[path] = node
            self.before.setdefault(path, [])
        for source, target in graph.edges:
            self.before[first[target]].append(last[source])
        if any(len(paths) != 1 for paths in ends.values()):
            raise BindError(
                f"the NIR graph `{prefix}` has {len(ends['Input'])} inputs and "
                f"{len(ends['Output'])} outputs, but a model of ratebp has one of each."
            )
        return ends["Input"][0], ends["Output"][0]

    def _ordered(self, start: str, end: str) -> Plan:
        done: dict[str, tuple[str, ...]] = {}
        todo = dict(self.before)
        while todo:
            ready = [p for p, inputs in todo.items() if all(each in done for each in inputs)]
            if not ready:
                raise BindError(
                    f"the NIR graph has a cycle through {', '.join(f'`{p}`' for p in todo)}. "
                    "Recurrence is not imported: write that layer with ratebp.Recurrent."
                )
            for path in ready:
                done[path] = tuple(todo.pop(path))
        lost = [p for p, inputs in done.items() if not inputs and p != start]
        if lost:
            raise BindError(f"`{lost[0]}` of the NIR graph has no edge into it.")
        return (*((p, i) for p, i in done.items() if p != end), (end, done[end]))
