"""Forwards that hold time themselves, written anew for one time step.

Two styles are known. A forward that copies an image along a new first dimension, as if time were
there, and takes the mean over it behind the network; and a loop over time steps around the layers
(`ratebp.importers.loops`). `torch.fx` follows both.
"""

from __future__ import annotations

import itertools
import linecache
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

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


class Tracer(fx.Tracer):
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


def without_copies(graph: fx.Graph) -> OneStep | None:
    """Return `graph` without the copies of its input along time; None where it makes none."""
    entrance = next(node for node in graph.nodes if node.op == "placeholder")
    found = _copies(entrance)
    if found is None:
        return None
    copied, timesteps = found
    copied.replace_all_uses_with(entrance)
    for node in [each for each in graph.nodes if each.op in ("call_method", "call_function")]:
        _shift(node)
    _outputs(graph, timesteps)
    prune(graph)
    return OneStep(graph, timesteps, f"copies its input {timesteps} times along a new first axis")


def prune(graph: fx.Graph) -> None:
    """Take out operations whose values nobody reads any more; calls of modules stay."""
    for node in reversed([*graph.nodes]):
        if not node.users and node.op in ("call_function", "call_method", "get_attr"):
            graph.erase_node(node)
    graph.lint()


def _copies(entrance: fx.Node) -> tuple[fx.Node, int] | None:
    """Return the last node of the copying, and how many copies it makes."""
    users = [*entrance.users]
    if len(users) != 1:
        return None
    node, axis = users[0], False
    if _is(node, "unsqueeze") and _argument(node, 1, "dim") == 0 and len(node.users) == 1:
        node, axis = next(iter(node.users)), True
    if _is(node, "stack") and _argument(node, 1, "dim", 0) == 0 and not axis:
        listed = node.args[0]
        if isinstance(listed, list | tuple) and len(listed) > 1 and set(listed) == {entrance}:
            return node, len(listed)
    if _is(node, "repeat", "expand", "tile", "repeat_interleave"):
        sizes: Any = node.args[1:]
        sizes = sizes[0] if len(sizes) == 1 and isinstance(sizes[0], tuple | list) else sizes
        times = sizes[0] if sizes else None
        alone = all(each in (1, -1) for each in sizes[1:])
        if isinstance(times, int) and times >= 1 and alone and (axis or len(sizes) == 5):
            return node, times
    return None


def _shift(node: fx.Node) -> None:
    """Let an operation count its dimensions from the samples, not from time."""
    if _is(node, "flatten"):
        start, end = _argument(node, 1, "start_dim", 0), _argument(node, 2, "end_dim", -1)
        node.args = (node.args[0], _earlier(start), _earlier(end))
        node.kwargs = {}
    elif _is(node, "cat", "concat", "concatenate"):
        node.args = (node.args[0], _earlier(_argument(node, 1, "dim", 0)))
        node.kwargs = {}


def _earlier(dim: Any) -> Any:
    return dim - 1 if isinstance(dim, int) and dim > 0 else dim


def _outputs(graph: fx.Graph, timesteps: int) -> None:
    """Let the output be that of one step: the mean over time is not the model's business."""
    last = next(node for node in graph.nodes if node.op == "output")
    result = last.args[0]
    if not isinstance(result, fx.Node):
        return
    factor = 1.0
    if _is(result, "truediv", "div") and isinstance(result.args[1], int | float):
        factor, result = 1.0 / result.args[1], result.args[0]
    if not isinstance(result, fx.Node) or not _is(result, "mean", "sum"):
        return
    if _argument(result, 1, "dim") not in (0, (0,), [0]):
        return
    factor *= timesteps if _is(result, "sum") else 1
    inner = result.args[0]
    if factor != 1:
        with graph.inserting_before(last):
            inner = graph.call_function(torch.mul, (inner, factor))
    last.args = (inner,)


def _is(node: fx.Node, *names: str) -> bool:
    if node.op not in ("call_method", "call_function"):
        return False
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    return str(name).rstrip("_") in names


def _argument(node: fx.Node, place: int, name: str, default: Any = None) -> Any:
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
