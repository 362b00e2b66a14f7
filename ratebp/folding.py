"""Refuses models whose samples are mixed, or not in the dimension where a method needs them.

Methods of layout "multi" fold the time steps into the batch, ``[T*B, ...]``. That is right only if
every operation treats each sample alone and nothing depends on their number.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ratebp.errors import BindError
from ratebp.graph import MOVES, RANDOM_FACTORIES, SHAPED, At, Graph, Lost, Node, Samples
from ratebp.needs import EXACT, Need, shown
from ratebp.roles import Role


def refuse_samples(method: str, needs: Collection[Need], graph: Graph, batch: int) -> None:
    """Refuse a model that mixes samples, or has them elsewhere than a method needs them.

    Args:
        method: what to call it.
        needs: of that method.
        graph: of the model, with shapes.
        batch: samples of the inputs that it was read with.

    Raises:
        BindError: naming the first operation, its line and a way out.
    """
    samples = Samples(graph, batch)
    for node in graph.leaves:
        _refuse_unbatched(node)
        place = samples.into(node)
        if node.role is Role.NEURON and isinstance(place, At) and place.copies:
            raise BindError(
                f"the forward copies its input along a dimension in front of the samples before "
                f"the neuron `{node.path}` ({node.where}), as if time were there. A forward is "
                "written for one time step: give bound.step all steps, x [T, B, ...] (for one "
                "image ratebp.direct(x, T)), and take the copies out."
            )
        if node.role is Role.DROPOUT and node.module is not None and node.module.training:
            _refuse_unless_first(method, node, place, "draws one mask a sequence", alone=True)
    if Need.NEURONS in needs:
        for node in filter(graph.is_neuron, graph.leaves):
            _refuse_unless_first(method, node, place=samples.into(node), why="", alone=True)
    if Need.SAMPLES in needs:
        for node in graph.nodes:
            place = samples.at(node)
            if node.signal and isinstance(place, Lost):
                raise BindError(
                    f"{method} puts time steps (or traces) side by side in the batch, but "
                    f"{shown(place.node)} {place.why}. Keep the samples apart, or {EXACT}."
                )
            given = node.signals if node.name == "output" else node.signals[:1]
            for each in given if node.role is Role.NEURON or node.name == "output" else ():
                _refuse_unless_first(method, node, samples.at(each), "runs all time steps at once")


def _refuse_unbatched(node: Node) -> None:
    """Refuse a convolution without a dimension of samples, which torch takes for one sample."""
    kernel = getattr(node.module, "kernel_size", None)
    shape = node.tensors[0].shape if node.tensors else None
    known = node.role is Role.SYNAPSE and isinstance(kernel, tuple) and shape is not None
    if known and len(shape or ()) != len(kernel or ()) + 2:
        raise BindError(
            f"`{node.path}` ({node.where}) gets {shape} without a dimension for channels or "
            f"samples: a {type(node.module).__name__} takes [B, C, ...]. Give it one "
            "(x.unsqueeze(1) for one channel)."
        )


def refuse_changes(method: str, graph: Graph, again: Graph) -> None:
    """Refuse a model whose forward does something else when it is run once more.

    Args:
        method: what to call it.
        graph: of the model, with shapes.
        again: of the same model, for the same inputs.

    Raises:
        BindError: naming the operation, its line and a way out.
    """
    pairs = zip(graph.nodes, again.nodes, strict=False)
    node = next((each for each, other in pairs if not _same(each, other, numbers=True)), None)
    if node is not None:
        raise BindError(
            f"{method} relies on a forward that is the same each time, but {shown(node)} differs "
            "from one run to the next: something outside of the model counts or draws. Take it out "
            f"of the forward, or {EXACT}."
        )


def refuse_numbers(method: str, graph: Graph, larger: Graph) -> None:
    """Refuse a model that takes the number of samples for a value: folded, it is T times as large.

    Args:
        method: what to call it.
        graph: of the model, with shapes.
        larger: of the same model, with another number of samples.

    Raises:
        BindError: naming the operation, its line and a way out.
    """
    for node, other in zip(graph.nodes, larger.nodes, strict=False):
        shaped = node.name in MOVES or node.name in SHAPED or node.name in RANDOM_FACTORIES
        if not _same(node, other, numbers=not shaped) or _grows(node, other):
            raise BindError(
                f"{method} puts time steps (or traces) side by side in the batch, but "
                f"{shown(node)} depends on the number of samples. Use a constant, or {EXACT}."
            )


def _same(node: Node, other: Node, *, numbers: bool) -> bool:
    """Return whether two nodes are one operation, called with equal numbers if `numbers`."""
    alike = node.name == other.name and node.path == other.path
    return alike and (not numbers or _numbers(node) == _numbers(other))


def _numbers(node: Node) -> list[object]:
    return [*_flat([*node.args, *node.kwargs.values()])]


def _flat(value: object) -> Iterator[object]:
    if isinstance(value, tuple | list):
        for each in value:
            yield from _flat(each)
    elif isinstance(value, int | float):
        yield value


def _grows(node: Node, other: Node) -> bool:
    """Return whether a dimension other than the samples' one depends on their number."""
    sizes = [*zip(node.shape or (), other.shape or (), strict=False)]
    return node.signal and sum(a != b for a, b in sizes) > 1


def _refuse_unless_first(
    method: str, node: Node, place: object, why: str, *, alone: bool = False
) -> None:
    first = isinstance(place, At) and place.dim == 0 and (place.inner == 1 or not alone)
    if first or place is None:
        return
    what = "the output" if node.name == "output" else f"`{node.path}`"
    what += f" ({node.where})" if node.where else ""
    found = "mixed with others"
    if isinstance(place, Lost):
        found = f"lost at {shown(place.node)}, which {place.why}"
    elif isinstance(place, At):
        joined = f", joined with {place.inner} others" if place.inner > 1 else ""
        found = f"in dimension {place.dim}{joined}"
    raise BindError(
        f"{method} {why or 'needs each sample apart'}: at {what} the samples must "
        f"be in the first dimension, but they are {found}. Move the batch to the front there "
        f"(x.transpose(0, 1)), or {EXACT}."
    )
