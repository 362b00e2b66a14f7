"""Rules of moves: shapes, orders of dimensions, parts and joins."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from ratebp.graph.batch.call import ELSEWHERE, At, Call, ends, normal
from ratebp.graph.node import Node

_SINGLE = "takes single samples"


def transposed(call: Call) -> At | str:
    """Two dimensions change places."""
    place, shape = call.first
    rank, name = len(shape), call.node.name
    if name == "T" or rank < 2:
        return replace(place, dim=rank - 1 - place.dim)
    if name in ("t", "mT"):
        a, b = rank - 2, rank - 1
    else:
        a, b = (normal(call.option(f"dim{n}", n + 1, n), rank) for n in (0, 1))
    return replace(place, dim={a: b, b: a}.get(place.dim, place.dim))


def permuted(call: Call) -> At:
    """All dimensions in another order, given as a tuple or one by one."""
    place, shape = call.first
    given = call.node.kwargs.get("dims", call.node.args[1:])
    flat = given[0] if len(given) == 1 and isinstance(given[0], tuple | list) else given
    return replace(place, dim=[normal(each, len(shape)) for each in flat].index(place.dim))


def dim_moved(call: Call) -> At | str:
    """Some dimensions go to given places, the others follow in their order."""
    place, shape = call.first
    sources, targets = call.dims("source", 1), call.dims("destination", 2)
    if sources is None or targets is None:
        return _SINGLE
    order: list[int | None] = [None] * len(shape)
    for a, b in zip(sources, targets, strict=True):
        order[b] = a
    rest = iter(each for each in range(len(shape)) if each not in sources)
    filled = [next(rest) if each is None else each for each in order]
    return replace(place, dim=filled.index(place.dim))


def reshaped(call: Call) -> At | str:
    """Match dimensions by their sizes: the samples' one may be joined with those behind it."""
    place, shape = call.first
    if call.shape is None:
        return "gives no tensor"
    before, size = math.prod(shape[: place.dim]), 1
    for dim, each in enumerate(call.shape):
        if size == before and each > 0 and each % call.batch == 0:
            return At(dim, each // call.batch, place.copies)
        size *= each
    return "joins the samples with what is in front of them"


def squeezed(call: Call) -> At | str:
    """Dimensions of size 1 go."""
    place, shape = call.first
    given = call.dims("dim", 1)
    gone = [d for d, size in enumerate(shape) if size == 1 and (given is None or d in given)]
    return replace(place, dim=place.dim - sum(each < place.dim for each in gone))


def unsqueezed(call: Call) -> At | str:
    """A dimension of size 1 comes."""
    place, shape = call.first
    dim = normal(call.option("dim", 1, 0), len(shape) + 1)
    return replace(place, dim=place.dim + (dim <= place.dim))


def expanded(call: Call) -> At | str:
    """Dimensions of size 1 are copied, and new ones come in front."""
    place, shape = call.first
    if call.shape is None:
        return "gives no tensor"
    more = len(call.shape) - len(shape)
    front = zip((1,) * more + shape[: place.dim], call.shape, strict=False)
    copied = any(was == 1 and now > 1 for was, now in front)
    return At(place.dim + more, place.inner, place.copies or copied)


def interleaved(call: Call) -> At | str:
    """Each entry along one dimension is repeated."""
    place, _ = call.first
    times, dim = call.option("repeats", 1, None), call.dim("dim", 2)
    if dim is None:
        return "joins the samples with what is in front of them"
    if dim != place.dim:
        return place
    return replace(place, inner=place.inner * times) if type(times) is int else _SINGLE


def joined(call: Call) -> At | str:
    """Tensors one behind the other, or along a new dimension."""
    parts = call.option("tensors", 0, ())
    ranks = {len(each.shape or ()) for each in parts}
    found = ends(call, [*parts])
    if len(ranks) != 1 or found is None:
        return "joins signals whose samples are in different dimensions"
    (rank,), (end, inner, copies) = ranks, found
    place, stacks = At(rank + end, inner, copies), call.node.name == "stack"
    if call.node.name in ("hstack", "vstack"):
        if rank < 2:
            return "joins samples to samples"
        dim = 0 if call.node.name == "vstack" else 1
    else:
        dim = normal(call.option("dim", 1, 0), rank + stacks)
    if stacks:
        front = dim <= place.dim
        same = len(set(parts)) == 1 and len(parts) > 1
        return replace(place, dim=place.dim + front, copies=copies or (same and front))
    return "joins samples to samples" if dim == place.dim else place


def split(call: Call) -> At | str:
    """Several parts along one dimension, or each entry of it alone."""
    place, shape = call.first
    alone, name = call.node.name == "unbind", call.node.name
    dim = call.dim("dim", 1 if alone else 2, 0)
    if name in ("hsplit", "vsplit", "dsplit"):
        dim = {"vsplit": 0, "hsplit": min(1, len(shape) - 1), "dsplit": 2}[name]
    if dim is None or dim == place.dim:
        return "takes the samples apart"
    return replace(place, dim=place.dim - (alone and dim < place.dim))


def selected(call: Call) -> At | str:
    """Entries along one dimension, or one of them."""
    place, _ = call.first
    dim = call.dim("dim", 1, 0)
    if dim is None or dim == place.dim or call.place(call.node.args[0]) is None:
        return _SINGLE
    return replace(place, dim=place.dim - (call.node.name == "select" and dim < place.dim))


def gathered(call: Call) -> At | str:
    """Entries along one dimension, by an index of the same rank for each place."""
    value = call.node.args[0]
    at = 1 if call.node.name == "gather" else 2
    dim, index = call.dim("dim", at), call.option("index" if at == 1 else "indices", 3 - at, None)
    place = call.place(value)
    if place is None or dim is None or dim == place.dim:
        return _SINGLE
    return place if call.place(index) == place and len(index.shape) == len(value.shape) else _SINGLE


def part(call: Call) -> At:
    """One of several results: its operation has said where the samples are."""
    return call.first[0]


def indexed(call: Call) -> At | str:
    """Indexing as Python writes it."""
    value, index = call.node.args[0], call.node.args[1]
    place = call.place(value)
    if place is None or len(call.placed) > 1:
        return _SINGLE
    found = after_index(index, place.dim, len(value.shape))
    return found if isinstance(found, str) else replace(place, dim=found)


def after_index(index: Any, wanted: int, rank: int) -> int | str:
    """Return the dimension that `wanted` of a tensor of `rank` is in after indexing."""
    index = index if isinstance(index, tuple) else (index,)
    used = sum(each is not None and each is not Ellipsis for each in index)
    whole = [slice(None)] * (rank - used)
    if Ellipsis in index:
        place = index.index(Ellipsis)
        index = (*index[:place], *whole, *index[place + 1 :])
    else:
        index = (*index, *whole)
    at = out = tensors = 0
    for each in index:
        if each is None:
            out += 1
            continue
        if isinstance(each, bool):
            return "indexes with a flag"
        if at == wanted:
            return out if each in (slice(None), slice(None, None, 1)) else _SINGLE
        if isinstance(each, Node | list | tuple):
            tensors += 1
            if tensors > 1 or not _flat(each):
                return "indexes with several tensors"
        out += not isinstance(each, int)
        at += 1
    return _SINGLE


def _flat(index: Any) -> bool:
    if isinstance(index, Node):
        return len(index.shape or ()) == 1
    return all(isinstance(each, int) for each in index)


def assigned(call: Call) -> At | str:
    """A value written to a part of a tensor, by index or by a mask of its shape."""
    target, index, value = call.node.args[:3]
    place = call.place(target)
    if place is None:
        return "writes samples into a constant"
    rank = len(target.shape)
    if isinstance(index, Node) and index.shape == target.shape:
        fits = call.place(index) == place and not getattr(value, "shape", ())
        return place if fits else "writes to single samples"
    found = after_index(index, place.dim, rank)
    if isinstance(found, str) or any(call.place(each) for each in _nodes(index)):
        return "writes to single samples"
    written = call.place(value)
    if written is not None:
        left = _rank_after(index, rank)
        if (written.dim - len(value.shape), written.inner) != (found - left, place.inner):
            return ELSEWHERE
    elif isinstance(value, Node):
        own, end = value.shape or (), found - _rank_after(index, rank)
        if len(own) + end >= 0 and own[end] != 1:
            return "writes other constants for each sample, by its number in the batch"
    return place


def _nodes(index: Any) -> list[Node]:
    parts = index if isinstance(index, tuple | list) else (index,)
    return [each for each in parts if isinstance(each, Node)]


def _rank_after(index: Any, rank: int) -> int:
    index = index if isinstance(index, tuple) else (index,)
    taken = sum(type(each) is int for each in index)
    return rank - taken + sum(each is None for each in index)


def overwritten(call: Call) -> At | str:
    """What shares memory with something that was changed: `(it, the change)`."""
    kept, change = call.node.args
    before = call.place(change.args[0]) if change.args else None
    place = call.place(kept)
    if place is None or before is None or before != call.place(change):
        return "changes a part of what this is"
    return place
