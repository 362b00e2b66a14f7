"""Forwards that hold time themselves, written anew for one time step.

Two styles are known. A forward that copies an image along a new first dimension, as if time were
there, and takes the mean over it behind the network; and a loop over time steps around the layers
(`ratebp.importers.loops`). `torch.fx` follows both.
"""

from __future__ import annotations

import itertools
import linecache
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from ratebp.neurons import Neuron

_NUMBERS = itertools.count()


@dataclass(frozen=True)
class OneStep:
    """A forward for one time step.

    Attributes:
        graph: of that forward.
        timesteps: T that the source's forward holds; None where its input has the time steps.
        style: what the source's forward did, in words.
    """

    graph: fx.Graph
    timesteps: int | None
    style: str


class UnrollingTracer(fx.Tracer):
    """Stops at neurons and torch's own modules.

    Args:
        leaves: what else is called as a whole.
    """

    def __init__(self, leaves: Callable[[nn.Module], bool] = lambda module: False) -> None:
        """Keep what is called as a whole."""
        super().__init__()
        self._leaves = leaves

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Neurons, and what torch itself has."""
        neuron = isinstance(m, Neuron) or self._leaves(m)
        return neuron or super().is_leaf_module(m, module_qualified_name)


@dataclass
class Steps:
    """One time step of a forward.

    Attributes:
        step: its graph; its T is None where the source's forward holds none.
        timed: whether the source's input has the time steps, where its forward loops.
        pick: which of several outputs is the model's; None where there is one.
        stacked: whether the source returns all steps, rather than their sum or mean.
        dropped: what else the source returns.
    """

    step: OneStep
    timed: bool = False
    pick: int | None = None
    stacked: bool = True
    dropped: list[str] = field(default_factory=list)


def without_time(graph: fx.Graph, *, multi: bool) -> Steps | None:
    """Return `graph` for inputs without an axis of time; None where it is that already.

    Args:
        graph: of a forward whose layers run one time step a call; it is changed.
        multi: whether the layers ran all time steps at once, in a first axis.
    """
    entrance = next(node for node in graph.nodes if node.op == "placeholder")
    copied = _copies(entrance)
    if copied is None and not multi:
        return None
    timesteps, style = None, "takes time steps in its first axis, and reads or reduces it"
    if copied is not None:
        copied[0].replace_all_uses_with(entrance)
        timesteps = copied[1]
        style = f"copies its input {timesteps} times along a new first axis"
    shifted = [_shift(node) for node in graph.nodes]
    reduced = _reduced(graph, timesteps)
    if copied is None and not reduced and not any(shifted):
        return None
    prune(graph)
    return Steps(OneStep(graph, timesteps, style), stacked=not reduced)


def prune(graph: fx.Graph, *, calls: bool = False) -> None:
    """Take out operations whose values nobody reads any more, and inputs but the first.

    Args:
        graph: is changed.
        calls: whether calls of modules go as well.
    """
    kinds = ("call_function", "call_method", "get_attr", *(("call_module",) if calls else ()))
    first = next(node for node in graph.nodes if node.op == "placeholder")
    for node in reversed([*graph.nodes]):
        spare = node.op == "placeholder" and node is not first
        if not node.users and (node.op in kinds or spare):
            graph.erase_node(node)
    graph.lint()


def _copies(entrance: fx.Node) -> tuple[fx.Node, int] | None:
    """Return the last node of the copying, and how many copies it makes."""
    users = [*entrance.users]
    if len(users) != 1:
        return None
    node, axis = users[0], False
    if is_called(node, "unsqueeze") and argument(node, 1, "dim") == 0 and len(node.users) == 1:
        node, axis = next(iter(node.users)), True
    if is_called(node, "stack") and argument(node, 1, "dim", 0) == 0 and not axis:
        listed = node.args[0]
        if isinstance(listed, list | tuple) and len(listed) > 1 and set(listed) == {entrance}:
            return node, len(listed)
    if is_called(node, "repeat", "expand", "tile", "repeat_interleave"):
        sizes: Any = node.args[1:]
        sizes = sizes[0] if len(sizes) == 1 and isinstance(sizes[0], tuple | list) else sizes
        times = sizes[0] if sizes else None
        alone = all(each in (1, -1) for each in sizes[1:])
        if isinstance(times, int) and times >= 1 and alone and (axis or len(sizes) == 5):
            return node, times
    return None


def _shift(node: fx.Node) -> bool:
    """Let an operation count its dimensions from the samples, not from time.

    A first dimension of 1 is that of one time step: no forward joins samples with features.
    """
    if is_called(node, "flatten"):
        start, end = argument(node, 1, "start_dim", 0), argument(node, 2, "end_dim", -1)
        if start < 2:
            return False
        node.args, node.kwargs = (node.args[0], start - 1, end - (end > 0)), {}
        return True
    if is_called(node, "cat", "concat", "concatenate"):
        dim = argument(node, 1, "dim", 0)
        if dim < 2:
            return False
        node.args, node.kwargs = (node.args[0], dim - 1), {}
        return True
    return False


def _reduced(graph: fx.Graph, timesteps: int | None) -> bool:
    """Let the output be that of one step; return whether it was a mean or a sum over time."""
    last = next(node for node in graph.nodes if node.op == "output")
    result: Any = last.args[0]
    factor = 1.0
    if is_called(result, "truediv", "div") and isinstance(result.args[1], int | float):
        factor, result = 1.0 / result.args[1], result.args[0]
    if not is_called(result, "mean", "sum") or argument(result, 1, "dim") not in (0, (0,), [0]):
        return False
    if is_called(result, "sum"):
        if timesteps is None:
            return False  # of how many steps is not known, and the proof refuses it
        factor *= timesteps
    inner = result.args[0]
    if factor != 1:
        with graph.inserting_before(last):
            inner = graph.call_function(torch.mul, (inner, factor))
    last.args = (inner,)
    return True


def of_length(x: Tensor, timesteps: int, *, constant: bool) -> Tensor:
    """Let a probe batch have the time steps that the source's forward holds."""
    if constant:
        return x[:1].expand(timesteps, *x.shape[1:])
    return x[torch.arange(timesteps) % len(x)]


def is_called(node: Any, *names: str) -> bool:
    """Is it a call of a function or method of one of the `names`, in place or not?"""
    if not isinstance(node, fx.Node) or node.op not in ("call_method", "call_function"):
        return False
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    return str(name).rstrip("_") in names


def argument(node: fx.Node, place: int, name: str, default: Any = None) -> Any:
    """Return the argument at `place`, or called `name`, or `default`."""
    if name in node.kwargs:
        return node.kwargs[name]
    return node.args[place] if len(node.args) > place else default


def written(tree: nn.Module, graph: fx.Graph) -> nn.Module:
    """Return a module with the children and tensors of `tree` and the forward of `graph`.

    Args:
        tree: whose paths the graph calls.
        graph: of a forward.
    """
    code = graph.python_code("self")
    place = f"<one time step of {type(tree).__name__}, {next(_NUMBERS)}>"
    linecache.cache[place] = (len(code.src), None, code.src.splitlines(keepends=True), place)
    names: dict[str, Any] = dict(code.globals)
    exec(compile(code.src, place, "exec"), names)
    body = {"forward": names["forward"], "__doc__": "One time step of an imported model."}
    made = nn.Module()
    made.__class__ = type(type(tree).__name__, (nn.Module,), body)
    made.__dict__.update(tree.__dict__)
    return made
